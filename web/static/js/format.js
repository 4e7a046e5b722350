// Numbers as India writes them, and Indian time. The gateway speaks paise and epoch seconds.

const IST_S = 19_800; // India has no summer time
const MINUS = "\u2212";

const formats = new Map();

function fixed(digits) {
  if (!formats.has(digits)) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(digits, new Intl.NumberFormat("en-IN", options));
  }
  return formats.get(digits);
}

/**
 * @param {string} symbol such as `NSE:2885`
 * @returns {{divisor: number, digits: number}} how its prices are written: currencies have more decimals
 */
export function scaleOf(symbol) {
  return symbol.startsWith("CDE:") ? { divisor: 10_000_000, digits: 4 } : { divisor: 100, digits: 2 };
}

/** @returns {number} what values of an indicator are divided by to be shown: prices come in paise */
export function divisorOf(type, symbol) {
  return type.pane === "price" ? scaleOf(symbol).divisor : 1;
}

/** @returns {string} a number with `digits` decimals, grouped in lakhs and crores */
export function number(value, digits = 2) {
  return fixed(digits).format(value).replace("-", MINUS);
}

/** @returns {string} the same with its sign: `+1.25`, `−1.25` */
export function signed(value, digits = 2) {
  const text = number(value, digits);
  return value > 0 ? `+${text}` : text;
}

/** @returns {string} a quantity in short: `950`, `12.4K`, `3.08L`, `1.58Cr` */
export function quantity(value) {
  if (value >= 1e7) return `${number(value / 1e7)}Cr`;
  if (value >= 1e5) return `${number(value / 1e5)}L`;
  if (value >= 1e4) return `${number(value / 1e3, 1)}K`;
  return number(value, 0);
}

/** @returns {string} a length of time: `00:42`, `01:05:00`, `2d 04:10` */
export function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const days = Math.floor(seconds / 86_400);
  const parts = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two);
  if (days) return `${days}d ${parts[0]}:${parts[1]}`;
  return (parts[0] === "00" ? parts.slice(1) : parts).join(":");
}

/** @returns {string} how long ago, in short: `now`, `12 s`, `3 min`, `2 h` */
export function age(ms) {
  if (ms < 1_500) return "now";
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

/**
 * @param {number} s epoch seconds
 * @returns {Date} whose UTC fields are the Indian ones
 */
export function indian(s) {
  return new Date((s + IST_S) * 1000);
}

/** @returns {number} which Indian day it is, as a count of days */
export function indianDay(s) {
  return Math.floor((s + IST_S) / 86_400);
}

/** @returns {number} epoch seconds as the chart takes them: it knows no zones, so Indian time passes for UTC */
export function toChart(s) {
  return s + IST_S;
}

/** @returns {number} the other way round */
export function fromChart(time) {
  return time - IST_S;
}

/** @returns {string} `09:15:00` in India */
export function clock(s, withSeconds = true) {
  const at = indian(s);
  const parts = [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map(two);
  return (withSeconds ? parts : parts.slice(0, 2)).join(":");
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** @returns {string} `Tue 24 Nov 2026` in India */
export function day(s) {
  const at = indian(s);
  return `${DAYS[at.getUTCDay()]} ${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
}

/** @returns {string} `24 Nov` in India */
export function shortDay(s) {
  const at = indian(s);
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
}

/** @returns {string} `SMA 20` of `SMA_20` */
export function indicatorTitle(name) {
  return name.replace("_", " ");
}

/** @returns {string} `1m`, `2h` or `1D` of seconds */
export function timeframeLabel(s) {
  for (const [letter, size] of Object.entries({ D: 86_400, h: 3_600, m: 60 })) {
    if (s % size === 0) return `${s / size}${letter}`;
  }
  return `${s}s`;
}

function two(n) {
  return String(n).padStart(2, "0");
}
