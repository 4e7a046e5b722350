// The watchlist: a row for each instrument, moving with its ticks.

import { byId, el, say } from "./dom.js";
import { Emitter, onceAFrame } from "./events.js";
import { age, number, quantity, scaleOf, signed } from "./format.js";
import { matching } from "./instruments.js";
import { drawSparkline, sparkline } from "./sparkline.js";

const STALE_MS = 15_000;
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/** Emits `chosen` (instrument). */
export class Watchlist extends Emitter {
  #quotes;
  #market;
  #rows = new Map();
  #instruments = [];
  #changed = new Set();
  #sort = { by: "symbol", down: false };
  #chosen = "";

  /**
   * @param {import("./quotes.js").Quotes} quotes
   * @param {import("./market.js").Market} market
   */
  constructor(quotes, market) {
    super();
    this.#quotes = quotes;
    this.#market = market;
    this.table = byId("watch", HTMLTableElement);
    this.body = this.table.tBodies[0];
    this.filter = byId("filter", HTMLInputElement);
    this.none = byId("watch-none");
    const paint = onceAFrame(() => this.#paintChanged());
    quotes.on("tick", (id) => this.#changed.add(id) && paint());
    quotes.on("closes", (id) => this.#rows.has(id) && this.#paint(id, false));
    this.filter.addEventListener("input", () => this.#arrange());
    this.body.addEventListener("keydown", (event) => this.#key(event));
    for (const button of this.table.tHead.querySelectorAll("button")) {
      button.addEventListener("click", () => this.#sortBy(button.value));
    }
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.#seen(entry)), { rootMargin: "200px" });
    setInterval(() => this.#dim(), 1_000);
  }

  /** Show these instruments; rows that are there stay. */
  setInstruments(instruments) {
    this.#instruments = instruments;
    for (const one of instruments.filter(({ id }) => !this.#rows.has(id))) {
      const row = this.#newRow(one);
      this.#rows.set(one.id, row);
      this.#paint(one.id, false);
      this.seen.observe(row.element);
    }
    this.#arrange();
  }

  /** Mark an instrument as the one that the chart shows. */
  choose(id, { focus = false } = {}) {
    for (const [own, { element }] of this.#rows) {
      element.setAttribute("aria-selected", String(own === id));
      element.tabIndex = own === id ? 0 : -1;
    }
    this.#chosen = id;
    const row = this.#rows.get(id)?.element;
    row?.scrollIntoView({ block: "nearest" });
    if (focus) row?.focus();
  }

  #newRow(one) {
    const cells = { price: el("td", { class: "number" }), change: el("td", { class: "number" }), percent: el("td", { class: "number" }) };
    const volume = el("td", { class: "number wide muted" });
    const spark = sparkline();
    const element = el(
      "tr", { tabindex: -1, "aria-selected": "false", "data-id": one.id },
      el("th", { scope: "row" }, el("span", { class: "symbol", text: one.symbol }), el("span", { class: "name muted", text: one.name === one.symbol ? one.exchange : `${one.name} · ${one.exchange}` })),
      el("td", { class: "spark-cell" }, spark), cells.price, cells.change, cells.percent, volume,
    );
    element.addEventListener("click", () => this.emit("chosen", one));
    return { element, spark, volume, ...cells, shown: null };
  }

  #paintChanged() {
    for (const id of this.#changed) if (this.#rows.has(id)) this.#paint(id, true);
    this.#changed.clear();
  }

  #paint(id, isTick) {
    const row = this.#rows.get(id);
    const { price, closes, volume } = this.#quotes.of(id);
    const { divisor, digits } = scaleOf(id);
    const change = changeOf(this.#quotes.of(id));
    say(row.price, price === null ? "no price" : number(price / divisor, digits));
    say(row.change, change ? signed(change.value / divisor, digits) : "n/a");
    say(row.percent, change ? `${signed(change.percent)}%` : "n/a");
    say(row.volume, volume ? quantity(volume) : "");
    row.element.dataset.direction = change ? (change.value < 0 ? "down" : "up") : "none";
    if (closes.length) drawSparkline(row.spark, price === null ? closes : [...closes, price]);
    if (isTick && row.shown !== null && row.shown !== price) flash(row.price, price > row.shown);
    row.shown = price;
  }

  #dim() {
    const nowMs = Date.now();
    for (const [id, { element }] of this.#rows) {
      const silentMs = nowMs - this.#quotes.of(id).atMs;
      const stale = this.#market.isOpen && silentMs > STALE_MS;
      element.classList.toggle("stale", stale);
      element.title = stale ? `No tick for ${age(silentMs)}` : "";
    }
  }

  #sortBy(by) {
    const down = this.#sort.by === by ? !this.#sort.down : by !== "symbol";
    this.#sort = { by, down };
    for (const head of this.table.tHead.querySelectorAll("th")) {
      const own = head.querySelector("button")?.value === by;
      if (own) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.#arrange();
  }

  #arrange() {
    const key = { symbol: ({ symbol }) => symbol, price: ({ id }) => this.#quotes.of(id).price ?? 0,
      change: ({ id }) => changeOf(this.#quotes.of(id))?.value ?? 0, percent: ({ id }) => changeOf(this.#quotes.of(id))?.percent ?? 0,
      volume: ({ id }) => this.#quotes.of(id).volume ?? 0 }[this.#sort.by];
    const found = new Set(matching(this.#instruments, this.filter.value));
    const shown = this.#instruments.filter((one) => found.has(one)).sort((a, b) => compare(key(a), key(b)));
    if (this.#sort.down) shown.reverse();
    this.body.replaceChildren(...shown.map(({ id }) => this.#rows.get(id).element));
    this.none.textContent = shown.length ? "" : this.#whyNone();
  }

  #whyNone() {
    if (this.#instruments.length) return `Nothing matches “${this.filter.value}”.`;
    return "No instrument has a price yet. SUBSCRIBE_TOKENS says what the feed brings.";
  }

  #seen({ target, isIntersecting }) {
    if (!isIntersecting) return;
    this.seen.unobserve(target);
    this.#quotes.load(target.dataset.id);
  }

  #key(event) {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    const rows = [...this.body.rows];
    const at = rows.findIndex(({ dataset }) => dataset.id === this.#chosen);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + STEPS[event.key]))];
    const one = this.#instruments.find(({ id }) => id === next?.dataset.id);
    if (!one) return;
    this.choose(one.id, { focus: true });
    this.emit("chosen", one);
  }
}

function changeOf({ price, previous }) {
  if (price === null || !previous) return null;
  return { value: price - previous, percent: (100 * (price - previous)) / previous };
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

function flash(cell, up) {
  cell.classList.remove("flash-up", "flash-down");
  void cell.offsetWidth; // an animation starts again only after a layout without it
  cell.classList.add(up ? "flash-up" : "flash-down");
}
