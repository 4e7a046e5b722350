// Last prices of all instruments, with the closes that they are compared with.

import { page } from "./api.js";
import { Emitter } from "./events.js";
import { indianDay } from "./format.js";

const CHANNELS_A_MESSAGE = 60; // the gateway takes messages of 4 KiB
const CLOSES = 60;
const CLOSES_TF = 60; // seconds
const AT_ONCE = 3;
const AGAIN_MS = 15_000;
const MINUTE_MS = 60_000;

/** @typedef {{price: number|null, atMs: number, previous: number|null, closes: number[], volume: number|null}} Quote */

/** Emits `tick` (id) and `closes` (id). */
export class Quotes extends Emitter {
  /** @type {Map<string, Quote>} by instrument */
  #quotes = new Map();
  #socket;
  #waiting = [];
  #running = 0;

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    this.#socket = socket;
  }

  /** Follow these instruments, from the prices that they have; those that are followed already are left alone. */
  follow(all) {
    const instruments = all.filter(({ id }) => !this.#quotes.has(id));
    for (const one of instruments) {
      const { price = null, tick_ts: atMs = 0, previous_close: previous = null, day_volume: volume = null } = one;
      this.#quotes.set(one.id, { price, atMs, previous, volume, closes: [] });
    }
    const channels = instruments.map(({ id }) => `pub:tick:${id}`);
    for (let first = 0; first < channels.length; first += CHANNELS_A_MESSAGE) {
      this.#socket.subscribe(
        { channels: channels.slice(first, first + CHANNELS_A_MESSAGE) },
        { onSnapshot: ({ latest }) => Object.values(latest ?? {}).forEach((data) => this.#applyTick(data)), onPush: (data) => this.#applyTick(data) },
      );
    }
  }

  /** @returns {Quote} of an instrument that is followed */
  of(id) {
    return this.#quotes.get(id);
  }

  /** Load the closes of an instrument, when those before it are there. */
  load(id) {
    this.#waiting.push(id);
    this.#next();
  }

  #next() {
    if (this.#running >= AT_ONCE || this.#waiting.length === 0) return;
    const id = this.#waiting.shift();
    this.#running += 1;
    this.#closes(id)
      .catch(() => setTimeout(() => this.load(id), AGAIN_MS)) // what can't be asked now can be later
      .finally(() => {
        this.#running -= 1;
        this.#next();
      });
  }

  async #closes(id) {
    const quote = this.of(id);
    const path = `/api/candles?token=${encodeURIComponent(id)}`;
    const { rows } = await page(`${path}&tf=${CLOSES_TF}&limit=${CLOSES}`);
    if (rows.length < 2) setTimeout(() => this.load(id), AGAIN_MS); // the first candles of a new log
    quote.closes = rows.map(({ close }) => close).reverse();
    if (quote.previous === null) quote.previous = await this.#previousClose(path);
    this.emit("closes", id);
  }

  async #previousClose(path) {
    const { rows } = await page(`${path}&tf=86400&limit=2`);
    const today = indianDay(this.#socket.nowMs() / 1000);
    return rows.find(({ ts }) => indianDay(ts) < today)?.close ?? null;
  }

  #applyTick({ exchange, token, price, tick_ts: atMs, previous_close: previous, day_volume: volume }) {
    const id = `${exchange}:${token}`;
    const quote = this.#quotes.get(id);
    if (!quote || atMs < quote.atMs) return;
    if (Math.floor(atMs / MINUTE_MS) > Math.floor(quote.atMs / MINUTE_MS) && quote.closes.length) {
      quote.closes = [...quote.closes, quote.price].slice(-CLOSES);
    }
    Object.assign(quote, { price, atMs }, previous ? { previous } : {}, volume ? { volume } : {});
    this.emit("tick", id);
  }
}
