// The gaps of the feed: when it saw nothing of an instrument.

import { get } from "./api.js";

/** Those of one instrument. */
export class Gaps {
  #rows = [];

  /** Ask for those since a time, in epoch seconds; throws ApiError. */
  async load(symbol, since) {
    this.#rows = await get(`/api/gaps?token=${encodeURIComponent(symbol)}&from=${since}`);
  }

  /** Forget them. */
  clear() {
    this.#rows = [];
  }

  /** @returns {boolean} whether one of them lies in an interval, in epoch seconds */
  overlap(from, to) {
    return this.#rows.some(({ from_ms: begin, to_ms: end }) => begin < to * 1000 && (end === null || end > from * 1000));
  }
}
