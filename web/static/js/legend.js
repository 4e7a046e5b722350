// The legend: the candle under the crosshair, else the newest, in words; the same for the page and for a picture.

import { isCorrected } from "./candles.js";
import { el } from "./dom.js";
import { clock, day, divisorOf, indicatorTitle, number, quantity, scaleOf, signed, timeframeLabel } from "./format.js";

/**
 * A word of the legend: `tone` is `strong`, `muted`, `up`, `down`, `warn` or nothing; `color` is a line's in the chart.
 * @typedef {{text: string, tone?: string, color?: string}} Piece
 */

/**
 * What stays together, such as a name and its value.
 * @typedef {Piece[]} Group
 */

/**
 * @param {import("./chartmodel.js").ChartModel} model
 * @param {string} title what the instrument is called
 * @param {number|null} ts the candle under the crosshair; null for the newest
 * @returns {{main: Group[][], panes: Map<string, Group[][]>}} the lines of the main pane, and of those of their own by
 *   the type of indicators
 */
export function legend(model, title, ts) {
  const candle = (ts === null ? undefined : model.candles.at(ts)) ?? model.candles.last;
  const exchange = model.symbol.split(":")[0];
  const head = [
    [{ text: title, tone: "strong" }],
    [{ text: `${timeframeLabel(model.tf)} · ${exchange}`, tone: "muted" }],
  ];
  const over = [];
  const panes = new Map();
  for (const indicator of model.indicators.filter(({ type }) => type)) {
    const { id, pane } = indicator.type;
    if (pane === "own" && !panes.has(id)) panes.set(id, [[]]);
    const line = pane === "own" ? panes.get(id)[0] : over;
    line.push(indicatorGroup(model, candle, indicator));
  }
  const main = [[...head, ...(candle ? candleGroups(model, candle) : [])], over].filter((line) => line.length > 0);
  return { main, panes };
}

function candleGroups(model, candle) {
  const { divisor, digits } = scaleOf(model.symbol);
  const before = model.candles.before(candle.ts);
  const change = candle.close - (before ? before.close : candle.open);
  const percent = (100 * change) / (candle.close - change);
  const tone = candle.close >= candle.open ? "up" : "down";
  const price = (name, value) => [{ text: name, tone: "muted" }, { text: number(value / divisor, digits), tone }];
  const start = model.tf >= 86_400 ? day(candle.ts) : `${clock(candle.ts, model.tf % 60 !== 0)} IST`;
  const volume = [{ text: "V", tone: "muted" }, { text: quantity(candle.volume) }];
  return [
    [{ text: start, tone: "muted" }],
    price("O", candle.open),
    price("H", candle.high),
    price("L", candle.low),
    price("C", candle.close),
    [{ text: `${signed(change / divisor, digits)} (${signed(percent)}%)`, tone: change < 0 ? "down" : "up" }],
    ...(candle.volume > 0 ? [volume] : []),
    ...notes(candle),
  ];
}

function notes(candle) {
  const groups = [];
  if (candle.partial) groups.push([{ text: "partial (gap in the feed)", tone: "warn" }]);
  if (isCorrected(candle)) groups.push([{ text: "corrected by the broker's history", tone: "warn" }]);
  else if (candle.source) groups.push([{ text: "broker's history", tone: "muted" }]);
  return groups;
}

function indicatorGroup(model, candle, { name, color, type }) {
  const value = candle && model.values.at(name, candle.ts);
  const about = candle && model.values.isComputed(name, candle.ts) ? "≈ " : "";
  const digits = type.pane === "price" ? scaleOf(model.symbol).digits : 2;
  const piece = value === undefined ? { text: "n/a", tone: "muted" } : { text: `${about}${number(value / divisorOf(type, model.symbol), digits)}` };
  return [{ text: indicatorTitle(name), color }, piece];
}

/** Show lines in an element. */
export function showLegend(element, lines) {
  element.replaceChildren(...lines.map((line) => el("div", { class: "line" }, ...line.map(groupElement))));
}

function groupElement(group) {
  return el("span", { class: "pair" }, ...group.map(pieceElement));
}

function pieceElement({ text, tone, color }) {
  const made = el("span", { class: color ? "own" : tone, text });
  if (color) made.style.setProperty("--own", color);
  return made;
}
