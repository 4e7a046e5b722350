// The instruments that there is something of, and which of them is meant by a few letters.

import { get } from "./api.js";

/**
 * @typedef {{id: string, token: string, exchange: string, symbol: string, name: string, instrument_class: string,
 *   price?: number, tick_ts?: number, previous_close?: number}} Instrument
 */

/** @returns {Promise<Instrument[]>} all of them; `id` is `NSE:2885`; throws ApiError */
export async function loadInstruments() {
  const instruments = await get("/tokens");
  return instruments.map((one) => ({ ...one, id: `${one.exchange}:${one.token}`, symbol: one.symbol || one.token }));
}

/** @returns {Instrument} which a chart shows where nothing is said: an index, if there is one */
export function defaultInstrument(instruments) {
  return instruments.find(({ instrument_class: kind }) => kind === "index") ?? instruments[0];
}

/** @returns {Instrument[]} those that a text may mean, the best first */
export function matching(instruments, text) {
  const query = text.trim().toLowerCase();
  if (!query) return instruments;
  const ranked = instruments.map((one) => [rank(one, query), one]).filter(([score]) => score < Infinity);
  return ranked.sort(([a, left], [b, right]) => a - b || left.symbol.localeCompare(right.symbol)).map(([, one]) => one);
}

function rank({ symbol, name, token, id }, query) {
  const texts = [symbol.toLowerCase(), name.toLowerCase()];
  if (texts.includes(query) || token === query || id.toLowerCase() === query) return 0;
  if (texts.some((text) => text.startsWith(query))) return 1;
  if (texts.some((text) => text.includes(query))) return 2;
  return token.startsWith(query) ? 3 : Infinity;
}
