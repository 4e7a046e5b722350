// What a chart shows: an instrument in a timeframe, with its candles and indicators, kept as the archive has them.

import { page } from "./api.js";
import { Candles } from "./candles.js";
import { Emitter } from "./events.js";
import { Gaps } from "./gaps.js";
import { candleChannel } from "./subscription.js";
import { Values } from "./values.js";

const HISTORY = 300; // candles that come first: more than fit on most screens
const PAGE = 1_000;
const MOST_PAGES = 20;
const PATIENCE_MS = 1_500; // before the archive is asked over REST, where the socket brings nothing

/**
 * Emits `replaced` (everything is different), `older` (n: history was put in front), `changed` (ts: one candle or
 * its values), `inserted` (ts: a candle between others), `gaps`, `failed` (ApiError: no older candles) and `state`: `loading`, `ready`, `empty` or `error` (ApiError).
 */
export class ChartModel extends Emitter {
  candles = new Candles();
  values = new Values();
  gaps = new Gaps();
  symbol = "";
  tf = 0;
  /** @type {import("./indicators.js").ShownIndicator[]} */
  indicators = [];
  state = "loading";
  error = null;
  #socket;
  #subscription = null;
  #ended = false;
  #loading = null;
  /** @type {object[]} corrections of candles that are on their way in a page of history */
  #deferred = [];
  #timer = 0;

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    this.#socket = socket;
    socket.on("event", () => this.#askForGaps());
  }

  /** Show another instrument or timeframe, or other indicators of the same. */
  show(symbol, tf, indicators) {
    const same = symbol === this.symbol && tf === this.tf;
    if (same && this.state !== "error" && namesOf(indicators) === namesOf(this.indicators)) {
      this.indicators = indicators; // in other colours, perhaps
      this.emit("replaced");
      return;
    }
    this.#leave(same);
    Object.assign(this, { symbol, tf, indicators });
    if (!same) {
      this.candles.replace([]);
      this.values.clear();
      this.gaps.clear();
      this.#ended = false;
      this.#setState("loading");
    }
    this.values.keep(indicators.map(({ name }) => name));
    this.emit("replaced");
    this.#subscription = this.#socket.subscribe(this.#request(), {
      onSnapshot: (message) => this.#snapshot(message),
      onPush: (data, channel) => this.#push(data, channel),
      onError: (error) => this.#fail(error),
    });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.state === "loading" && this.#fromArchive(), PATIENCE_MS);
  }

  /** Put a page of older candles, with their indicators, in front. Calls while one is on its way do nothing. */
  async older() {
    const first = this.candles.rows[0];
    if (this.#ended || this.#loading || !first) return;
    const key = (this.#loading = { symbol: this.symbol, tf: this.tf });
    try {
      const { rows, more } = await this.#page("candles", first.ts);
      const oldest = rows[rows.length - 1]?.ts ?? first.ts;
      await this.#olderValues(first.ts, oldest);
      if (this.#loading !== key) return;
      this.#ended = !more;
      const added = this.candles.prepend(rows);
      for (const candle of this.#deferred) this.candles.upsert(candle);
      if (added > 0) {
        this.emit("older", added);
        this.#askForGaps();
      }
    } catch (error) {
      if (this.#loading === key) this.emit("failed", error);
    } finally {
      if (this.#loading === key) this.#loading = null;
      this.#deferred = [];
    }
  }

  /** Put pages in front until a time is reached, or there are no older ones. */
  async reach(ts) {
    for (let pages = 0; pages < MOST_PAGES && !this.#ended && ts < (this.candles.rows[0]?.ts ?? 0); pages += 1) {
      await this.older();
    }
  }

  #request() {
    const indicators = this.indicators.map(({ name }) => {
      const [id, length] = name.split("_");
      return { id: id.toLowerCase(), source: "close", params: { length: Number(length) }, tf: this.tf };
    });
    return { symbol: this.symbol, tf: this.tf, history: { candles: HISTORY }, indicators };
  }

  #leave(same) {
    this.#loading = null;
    if (!this.#subscription) return;
    if (same) this.#socket.replace(this.#subscription);
    else this.#socket.unsubscribe(this.#subscription);
    this.#subscription = null;
  }

  /** What is resumed goes on by pushes; everything else starts anew with what the gateway has. */
  #snapshot(message) {
    const resumed = new Set(message.resumed ?? []);
    for (const { name } of this.indicators) {
      const rows = message.indicators?.[`${name}:${this.tf}`];
      if (rows && !resumed.has(`pub:ind:${name}:${this.tf}s:${this.symbol}`)) this.values.replace(name, rows);
    }
    if (!resumed.has(candleChannel(this.tf, this.symbol))) {
      this.candles.replace(message.candles);
      this.#loading = null;
      this.#ended = false;
    }
    this.#setState(this.candles.rows.length ? "ready" : "empty");
    this.emit("replaced");
    this.#askForGaps();
    this.#fillValues();
  }

  /** Candles from before an indicator was computed have none that was published: they get what it would have been. */
  async #fillValues() {
    const { symbol, tf, candles } = this;
    const [first] = candles.rows;
    if (!first) return;
    for (const { name } of this.indicators) {
      const earliest = candles.rows.find(({ ts }) => this.values.at(name, ts) !== undefined);
      const missing = candles.indexOf(earliest?.ts ?? Infinity);
      if (missing === 0) continue;
      const loading = this.#page("indicators/history", earliest?.ts, `&name=${name}&fill=computed`, missing);
      const { rows } = await loading.catch(() => ({ rows: [] }));
      if (symbol !== this.symbol || tf !== this.tf) return;
      for (const row of rows) if (row.ts >= first.ts) this.values.upsert(row);
      if (rows.length) this.emit("replaced");
    }
  }

  /** Where they can't be loaded, candles still say which of them are partial. */
  async #askForGaps() {
    const { symbol } = this;
    const first = this.candles.rows[0];
    if (!first) return;
    await this.gaps.load(symbol, first.ts).catch(() => {});
    if (symbol !== this.symbol) this.gaps.clear();
    this.emit("gaps");
  }

  #push(data, channel) {
    if (channel.startsWith("pub:ind:")) {
      if (this.values.upsert(data)) this.emit("changed", data.ts);
      return;
    }
    const became = this.candles.upsert(data);
    if (became === null) {
      if (this.#loading && !data.forming) this.#deferred.push(data);
      return;
    }
    if (this.state !== "ready") this.#setState("ready");
    this.emit(became === "inserted" ? "inserted" : "changed", data.ts);
  }

  async #fromArchive() {
    const { symbol, tf } = this;
    try {
      const { rows } = await this.#page("candles");
      if (symbol !== this.symbol || tf !== this.tf || this.state !== "loading") return;
      this.candles.replace(rows);
      if (rows.length) await this.#olderValues(rows[0].ts + tf, rows[rows.length - 1].ts);
      this.#setState(rows.length ? "ready" : "empty");
      this.emit("replaced");
    } catch (error) {
      if (symbol === this.symbol && tf === this.tf && this.state === "loading") this.#fail(error);
    }
  }

  async #olderValues(before, since) {
    const pages = await Promise.all(
      this.indicators.map(({ name }) => this.#page("indicators/history", before, `&name=${name}&fill=computed`)),
    );
    for (const row of pages.flatMap(({ rows }) => rows)) if (row.ts >= since) this.values.upsert(row);
  }

  #page(path, before = 0, more = "", limit = before ? PAGE : HISTORY) {
    const limits = `&limit=${limit}${before ? `&before=${before}` : ""}`;
    return page(`/api/${path}?token=${encodeURIComponent(this.symbol)}&tf=${this.tf}${limits}${more}`);
  }

  #fail(error) {
    this.error = error;
    this.#setState("error");
  }

  #setState(state) {
    this.state = state;
    this.emit("state", state);
  }
}

function namesOf(indicators) {
  return indicators.map(({ name }) => name).join();
}
