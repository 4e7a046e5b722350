// Whether the market is open, and until when.

import { get } from "./api.js";
import { Emitter } from "./events.js";
import { clock, duration, indianDay, shortDay } from "./format.js";

const ASK_MS = 30_000;

/** The market's status, polled and pushed by the socket. Emits `changed`. */
export class Market extends Emitter {
  status = null;
  #socket;

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    this.#socket = socket;
    socket.on("metrics", ({ market }) => market && this.#update(market));
    setInterval(() => this.ask(), ASK_MS);
  }

  /** Ask the gateway; where it does not answer, what was known stands. */
  async ask() {
    try {
      this.#update(await get("/api/market-status"));
    } catch {
      this.emit("changed");
    }
  }

  /** @returns {boolean} whether it trades, as far as is known */
  get isOpen() {
    return this.status?.phase === "open";
  }

  /** @returns {{phase: "open"|"closed"|"unknown", text: string, short: string}} the status in words, with a countdown */
  describe() {
    if (!this.status) return { phase: "unknown", text: "Market: not known yet", short: "…" };
    const { phase, reason, next_change_ms: changeMs } = this.status;
    const leftMs = changeMs === null ? null : changeMs - this.#socket.nowMs();
    if (phase === "open") {
      return { phase, text: leftMs === null ? "Open" : `Open · closes in ${duration(leftMs)}`, short: "Open" };
    }
    const opens = changeMs === null ? "" : ` · opens ${this.#when(changeMs / 1000)}, in ${duration(leftMs)}`;
    return { phase, text: `Closed (${reason})${opens}`, short: "Closed" };
  }

  /** @returns {number} the end of a candle in ms: its timeframe's, or the session's, whichever comes first */
  endMs(ts, tf) {
    const endMs = (ts + tf) * 1000;
    const closesMs = this.status?.closes_at_ms;
    return closesMs && closesMs > ts * 1000 ? Math.min(endMs, closesMs) : endMs;
  }

  #when(s) {
    const today = indianDay(this.#socket.nowMs() / 1000) === indianDay(s);
    return today ? clock(s, false) : `${shortDay(s)} ${clock(s, false)}`;
  }

  #update(status) {
    this.status = status;
    this.emit("changed");
  }
}
