// The legend: the candle under the crosshair, else the newest, in words; the same for the page and for a picture.

import { isCorrected } from "./candles.js";
import { el } from "./dom.js";
import { clock, day, indicatorTitle, number, quantity, scaleOf, signed, timeframeLabel } from "./format.js";
import { isOwn } from "./lines.js";

/**
 * A word of the legend: `tone` is `strong`, `muted`, `up`, `down`, `warn` or nothing; `color` is a line's in the chart.
 * @typedef {{text: string, tone?: string, color?: string}} Piece
 */

/**
 * What stays together, such as a name and its value.
 * @typedef {Piece[]} Group
 */

/**
 * @param {import("./subject.js").Subject} subject
 * @param {string} title what the instrument is called
 * @param {number|null} ts the candle under the crosshair; null for the newest
 * @returns {{main: Group[][], own: Group[][]}} the lines of the main pane and those of the pane of RSI
 */
export function legend(subject, title, ts) {
  const candle = (ts === null ? undefined : subject.candles.at(ts)) ?? subject.candles.last;
  const exchange = subject.symbol.split(":")[0];
  const head = [
    [{ text: title, tone: "strong" }],
    [{ text: `${timeframeLabel(subject.tf)} · ${exchange}`, tone: "muted" }],
  ];
  const groups = subject.indicators.map(({ name, color }) => ({ name, group: indicatorGroup(subject, candle, name, color) }));
  const over = groups.filter(({ name }) => !isOwn(name)).map(({ group }) => group);
  const own = groups.filter(({ name }) => isOwn(name)).map(({ group }) => group);
  return {
    main: [[...head, ...(candle ? candleGroups(subject, candle) : [])], over].filter((line) => line.length > 0),
    own: own.length ? [own] : [],
  };
}

function candleGroups(subject, candle) {
  const { divisor, digits } = scaleOf(subject.symbol);
  const before = subject.candles.before(candle.ts);
  const change = candle.close - (before ? before.close : candle.open);
  const percent = (100 * change) / (candle.close - change);
  const tone = candle.close >= candle.open ? "up" : "down";
  const price = (name, value) => [{ text: name, tone: "muted" }, { text: number(value / divisor, digits), tone }];
  const start = subject.tf >= 86_400 ? day(candle.ts) : `${clock(candle.ts, subject.tf % 60 !== 0)} IST`;
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
  const found = [];
  if (candle.partial) found.push([{ text: "partial (gap in the feed)", tone: "warn" }]);
  if (isCorrected(candle)) found.push([{ text: "corrected by the broker's history", tone: "warn" }]);
  else if (candle.source) found.push([{ text: "broker's history", tone: "muted" }]);
  return found;
}

function indicatorGroup(subject, candle, name, color) {
  const value = candle && subject.values.at(name, candle.ts);
  const about = candle && subject.values.isComputed(name, candle.ts) ? "≈ " : "";
  const { divisor, digits } = isOwn(name) ? { divisor: 1, digits: 2 } : scaleOf(subject.symbol);
  const shown = value === undefined ? { text: "n/a", tone: "muted" } : { text: `${about}${number(value / divisor, digits)}` };
  return [{ text: indicatorTitle(name), color }, shown];
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
