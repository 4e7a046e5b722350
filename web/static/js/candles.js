// Candles of one instrument and timeframe, in order of time, each as it is known best.

/**
 * A candle as the gateway sends it: prices in paise, `ts` in epoch seconds.
 * @typedef {{ts: number, open: number, high: number, low: number, close: number, volume: number, forming: boolean,
 *   position: number, partial?: boolean, source?: string, revision?: number}} Candle
 */

/** A row of candles without duplicates. */
export class Candles {
  /** @type {Candle[]} the oldest first */
  rows = [];

  /** @returns {Candle|undefined} the newest */
  get last() {
    return this.rows[this.rows.length - 1];
  }

  /** Start anew with these; the oldest first. */
  replace(candles) {
    this.rows = [...candles].sort((a, b) => a.ts - b.ts);
  }

  /**
   * Insert or replace a candle, closed or forming. What is older than all that is here is left to the pages of history.
   * @returns {"changed"|"appended"|"inserted"|null} what has become of it; null where a better one is here
   */
  upsert(candle) {
    const index = this.indexOf(candle.ts);
    const current = this.rows[index];
    if (current?.ts === candle.ts) {
      if (!isBetter(candle, current)) return null;
      this.rows[index] = candle;
      return "changed";
    }
    if (index === 0 && this.rows.length > 0) return null;
    this.rows.splice(index, 0, candle);
    return index === this.rows.length - 1 ? "appended" : "inserted";
  }

  /** Put older ones in front. Returns how many were new. */
  prepend(candles) {
    const first = this.rows[0]?.ts ?? Infinity;
    const older = candles.filter(({ ts }) => ts < first).sort((a, b) => a.ts - b.ts);
    this.rows = [...older, ...this.rows];
    return older.length;
  }

  /** @returns {Candle|undefined} the candle of this start */
  at(ts) {
    const candle = this.rows[this.indexOf(ts)];
    return candle?.ts === ts ? candle : undefined;
  }

  /** @returns {Candle|undefined} the one before a start */
  before(ts) {
    return this.rows[this.indexOf(ts) - 1];
  }

  /** @returns {number} where a candle of this start is, or would be */
  indexOf(ts) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].ts < ts) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A closed candle is better than a forming one, a correction better than what it corrects. */
function isBetter(candle, current) {
  if (candle.forming !== current.forming) return !candle.forming;
  return candle.position >= current.position;
}

/** @returns {boolean} whether the broker's history has put this candle right */
export function isCorrected(candle) {
  return candle.source !== undefined && (candle.revision ?? 0) > 0;
}
