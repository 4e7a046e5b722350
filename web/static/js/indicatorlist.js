// The list of indicators: shown or not, in which colour; new ones, and those that go.

import { el } from "./dom.js";
import { indicatorTitle, timeframeLabel } from "./format.js";
import { toast, toastError } from "./toasts.js";

/**
 * Fill an element with the list of a timeframe.
 * @param {HTMLElement} root
 * @param {import("./indicators.js").Indicators} indicators
 * @param {() => number} timeframe of the chart
 * @returns {() => void} shows it anew, as for another timeframe
 */
export function showIndicatorList(root, indicators, timeframe) {
  const list = el("ul", { class: "indicators" });
  const note = el("p", { class: "muted" });
  const { form, showTypes } = addForm(indicators, timeframe);
  root.append(note, list, form);
  const show = () => {
    const tf = timeframe();
    const names = indicators.computed.get(tf) ?? [];
    note.textContent = noteOf(indicators, tf, names);
    const focused = document.activeElement?.id;
    list.replaceChildren(...names.map((name) => item(indicators, name, tf)));
    if (focused?.startsWith("show-")) document.getElementById(focused)?.focus();
    showTypes();
  };
  indicators.on("changed", show);
  show();
  return show;
}

function noteOf(indicators, tf, names) {
  if (!indicators.types.size) return "Which indicators there are is not known yet: the gateway has not answered.";
  if (names.length) return `Computed for ${timeframeLabel(tf)} candles`;
  if (indicators.computed.has(tf)) return `None is computed for ${timeframeLabel(tf)} candles: add one below.`;
  const stored = [...indicators.computed.keys()].map(timeframeLabel).join(", ");
  return `${timeframeLabel(tf)} candles are resampled and have no indicators. ${stored} have.`;
}

function item(indicators, name, tf) {
  const title = indicatorTitle(name);
  const entry = indicators.of(tf).find((one) => one.name === name);
  const box = el("input", { type: "checkbox", id: `show-${name}` });
  box.checked = entry !== undefined;
  box.addEventListener("change", () => attempt(() => indicators.show(name, tf, { shown: box.checked }), `${title} was not changed`, () => (box.checked = !box.checked)));
  const color = el("input", { type: "color", "aria-label": `Colour of ${title}`, value: entry?.color ?? indicators.defaultColor(name) });
  color.addEventListener("change", () => attempt(() => indicators.show(name, tf, { color: color.value }), `${title} was not changed`));
  const remove = el("button", { class: "quiet", "aria-label": `Remove ${title}`, title: "No longer compute it", text: "×" });
  remove.addEventListener("click", () => attempt(() => indicators.remove(name, tf), `${title} was not removed`));
  return el("li", {}, box, el("label", { for: `show-${name}`, text: title }), color, remove);
}

/** The form that adds one, and a function that shows the types there are. */
function addForm(indicators, timeframe) {
  const type = el("select", { id: "add-type", "aria-label": "Type of indicator", "aria-describedby": "add-about" });
  const period = el("input", { id: "add-period", type: "number", min: 1, required: true, "aria-label": "Period, in candles" });
  const button = el("button", { class: "primary", text: "Add" });
  const about = el("p", { id: "add-about", class: "muted" });
  const form = el("form", { class: "add" }, type, period, button, about);
  const showType = () => {
    const { title, about: what, longest_period: longest, default_period: usual } = indicators.types.get(type.value);
    Object.assign(period, { max: longest, value: usual });
    about.textContent = `${title}. ${what}.`;
  };
  const showTypes = () => {
    const ids = [...indicators.types.keys()];
    button.disabled = !ids.length;
    if (ids.join() === [...type.options].map(({ value }) => value).join()) return;
    type.replaceChildren(...ids.map((id) => el("option", { value: id, text: id })));
    showType();
  };
  type.addEventListener("change", showType);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(indicators, timeframe(), { type: type.value, period: Number(period.value), button });
  });
  return { form, showTypes };
}

async function submit(indicators, tf, { type, period, button }) {
  const title = `${type} ${period}`;
  button.disabled = true;
  await attempt(async () => {
    await indicators.add(type, period, tf);
    toast(`${title} is computed`, `for ${timeframeLabel(tf)} candles`, "good");
  }, `${title} was not added`);
  button.disabled = false;
}

async function attempt(change, title, undo = () => {}) {
  try {
    await change();
  } catch (error) {
    undo();
    toastError(title, error);
  }
}
