// Values of the indicators that a chart shows: confirmed ones, and the live one of the candle that forms.

/** Values by indicator and candle start. */
export class Values {
  /** @type {Map<string, Map<number, {value: number, live: boolean, computed: boolean}>>} */
  #of = new Map();

  /** Hold values of these indicators only; those that are held already stay. */
  keep(names) {
    this.#of = new Map(names.map((name) => [name, this.#of.get(name) ?? new Map()]));
  }

  /** Forget all values. */
  clear() {
    for (const values of this.#of.values()) values.clear();
  }

  /** Insert or replace a value. Returns whether it changes anything. */
  upsert({ name, ts, value, live, ready, computed = false }) {
    const values = this.#of.get(name);
    if (!values || ready === false) return false;
    const held = values.get(ts);
    if ((live && held?.live === false) || (computed && held)) return false;
    values.set(ts, { value, live: live === true, computed });
    return true;
  }

  /** @returns {boolean} whether it was not published, but computed afterwards for a chart to show */
  isComputed(name, ts) {
    return this.#of.get(name)?.get(ts)?.computed === true;
  }

  /** @returns {number|undefined} the value at a candle's start */
  at(name, ts) {
    return this.#of.get(name)?.get(ts)?.value;
  }

  /** Start anew with the confirmed values of one indicator. */
  replace(name, rows) {
    this.#of.set(name, new Map());
    for (const row of rows) this.upsert({ ...row, name });
  }
}
