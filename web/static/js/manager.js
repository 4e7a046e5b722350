// The list of indicators: shown or not, in which colour; new ones, and those that go.

import { el } from "./dom.js";
import { indicatorTitle, timeframeLabel } from "./format.js";
import { KINDS, LONGEST } from "./indicators.js";
import { toast, toastError } from "./toasts.js";

/**
 * Fill an element with the list of a timeframe.
 * @param {HTMLElement} root
 * @param {import("./indicators.js").Indicators} indicators
 * @param {() => number} timeframe of the chart
 * @returns {() => void} shows it anew, as for another timeframe
 */
export function manageIndicators(root, indicators, timeframe) {
  const list = el("ul", { class: "indicators" });
  const note = el("p", { class: "muted" });
  root.append(note, list, addForm(indicators, timeframe));
  const show = () => {
    const tf = timeframe();
    const names = indicators.computed.get(tf) ?? [];
    note.textContent = noteOf(indicators, tf, names);
    const focused = document.activeElement?.id;
    list.replaceChildren(...names.map((name) => item(indicators, name, tf)));
    if (focused?.startsWith("show-")) document.getElementById(focused)?.focus();
  };
  indicators.on("changed", show);
  show();
  return show;
}

function noteOf(indicators, tf, names) {
  if (names.length) return `Computed for ${timeframeLabel(tf)} candles`;
  if (indicators.computed.has(tf)) return `None is computed for ${timeframeLabel(tf)} candles: add one below.`;
  const stored = [...indicators.computed.keys()].map(timeframeLabel).join(", ");
  return `${timeframeLabel(tf)} candles are folded and have no indicators. ${stored} have.`;
}

function item(indicators, name, tf) {
  const title = indicatorTitle(name);
  const entry = indicators.of(tf).find((one) => one.name === name);
  const box = el("input", { type: "checkbox", id: `show-${name}` });
  box.checked = entry !== undefined;
  box.addEventListener("change", () => attempt(() => indicators.show(name, tf, { shown: box.checked }), `${title} was not changed`, () => (box.checked = !box.checked)));
  const color = el("input", { type: "color", "aria-label": `Colour of ${title}`, value: entry?.color ?? indicators.usualColor(name) });
  color.addEventListener("change", () => attempt(() => indicators.show(name, tf, { color: color.value }), `${title} was not changed`));
  const remove = el("button", { class: "quiet", "aria-label": `Remove ${title}`, title: "No longer compute it", text: "×" });
  remove.addEventListener("click", () => attempt(() => indicators.remove(name, tf), `${title} was not removed`));
  return el("li", {}, box, el("label", { for: `show-${name}`, text: title }), color, remove);
}

function addForm(indicators, timeframe) {
  const kind = el("select", { id: "add-kind", "aria-label": "Kind of indicator" }, ...KINDS.map((name) => el("option", { value: name, text: name })));
  const period = el("input", { id: "add-period", type: "number", min: 1, max: LONGEST, value: 34, required: true, "aria-label": "Period, in candles" });
  const button = el("button", { class: "primary", text: "Add" });
  const form = el("form", { class: "add" }, kind, period, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const tf = timeframe();
    const title = `${kind.value} ${period.value}`;
    button.disabled = true;
    await attempt(async () => {
      await indicators.add(kind.value, Number(period.value), tf);
      toast(`${title} is computed`, `for ${timeframeLabel(tf)} candles`, "good");
    }, `${title} was not added`);
    button.disabled = false;
  });
  return form;
}

async function attempt(change, title, undo = () => {}) {
  try {
    await change();
  } catch (error) {
    undo();
    toastError(title, error);
  }
}
