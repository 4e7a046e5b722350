// A chart with all that belongs to it: legend, timeframes, states, and the way back to the newest candle.

import { Chart } from "./chart.js";
import { ChartModel } from "./chartmodel.js";
import { byId, el, say } from "./dom.js";
import { clock, duration, fromChart } from "./format.js";
import { bindKeys } from "./keyboard.js";
import { legend, showLegend } from "./legend.js";
import { savePicture } from "./screenshot.js";
import { toastError } from "./toasts.js";

/** The chart in `#chart`, on either page. Its `model` says what it shows. */
export class Panel {
  #socket;
  #market;
  /** @type {Map<string, HTMLElement>} the legends of the panes below the candles, by the type of indicators */
  #paneLegends = new Map();
  #crosshair = null;
  #title = "";

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {import("./market.js").Market} market
   */
  constructor(socket, market) {
    this.#socket = socket;
    this.#market = market;
    this.root = byId("chart");
    Object.assign(this.root, { panel: this }); // for whoever looks at it from outside, as tests do
    this.model = new ChartModel(socket);
    this.main = el("div", { class: "legend" });
    this.state = el("div", { class: "state", role: "status" });
    this.offline = el("p", { class: "offline", role: "status", hidden: true });
    this.realtime = el("button", { class: "realtime", hidden: true, "aria-label": "Scroll to the newest candle", text: "Newest »" });
    this.canvas = el("div", { class: "canvas", role: "group" });
    this.root.append(this.canvas, this.main, this.state, this.offline, this.realtime);
    this.drawing = new Chart(this.canvas, this.model, () => this.#drawn());
    bindKeys(this.canvas, this.drawing);
    this.#listen();
    setInterval(() => this.#tick(), 500);
  }

  /** Show an instrument. */
  show(instrument, tf, indicators) {
    this.#title = instrument.symbol;
    this.model.show(instrument.id, tf, indicators);
    this.#drawn();
  }

  /** Say that there is nothing to show, and why. */
  fail(title, detail) {
    this.root.dataset.state = "error";
    this.state.hidden = false;
    this.state.replaceChildren(el("strong", { text: title }), el("p", { text: detail }));
  }

  /** Show a range of time, in epoch seconds, as soon as its candles are here. */
  async showRange(range) {
    await this.model.reach(range.from);
    requestAnimationFrame(() => this.drawing.showRange(range));
  }

  /** Download what is shown as a picture. */
  async save(simulated) {
    const { main, panes } = this.#lines();
    const name = `${this.#title}-${this.model.tf}s`;
    const about = { name, simulated, nowS: Math.floor(this.#socket.nowMs() / 1000) };
    await savePicture(this.drawing.chart.takeScreenshot(true, false), [...main, ...[...panes.values()].flat()], about);
  }

  #listen() {
    const { chart } = this.drawing;
    chart.subscribeCrosshairMove(({ time }) => {
      this.#crosshair = time === undefined ? null : fromChart(time);
      this.#showLegend();
    });
    chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
      this.realtime.hidden = this.drawing.isAtRealTime || this.model.state !== "ready";
    });
    this.realtime.addEventListener("click", () => this.drawing.toRealTime());
    this.model.on("state", () => this.#showState());
    this.model.on("failed", (error) => toastError("Older candles could not be loaded", error));
    this.#socket.on("state", () => this.#showConnection());
    this.#market.on("changed", () => this.model.state === "empty" && this.#showState());
  }

  #drawn() {
    this.#showLegend();
    requestAnimationFrame(() => this.#placePaneLegends()); // panes have their heights only then
    const { last } = this.model.candles;
    const newest = last ? `, newest candle ${clock(last.ts)} IST` : "";
    this.canvas.setAttribute("aria-label", `Candles of ${this.#title}${newest}; the legend has their values`);
    this.root.dataset.drawn = String(this.model.candles.rows.length);
  }

  #lines() {
    return legend(this.model, this.#title, this.#crosshair);
  }

  #showLegend() {
    const { main, panes } = this.#lines();
    showLegend(this.main, main);
    for (const [id, element] of this.#paneLegends) {
      if (panes.has(id)) continue;
      element.remove();
      this.#paneLegends.delete(id);
    }
    for (const [id, lines] of panes) showLegend(this.#paneLegend(id), lines);
  }

  #paneLegend(id) {
    if (!this.#paneLegends.has(id)) {
      const element = el("div", { class: "legend", hidden: true });
      this.main.after(element);
      this.#paneLegends.set(id, element);
    }
    return this.#paneLegends.get(id);
  }

  /** A legend stands in its pane, wherever the separator has been drawn to. */
  #placePaneLegends() {
    for (const [id, element] of this.#paneLegends) {
      const drawn = this.drawing.indicators.find(({ type }) => type.id === id);
      const pane = drawn?.series.getPane().getHTMLElement();
      element.hidden = !pane;
      if (pane) element.style.top = `${pane.getBoundingClientRect().top - this.root.getBoundingClientRect().top + 4}px`;
    }
  }

  #showState() {
    const { state, error } = this.model;
    this.root.dataset.state = state;
    this.state.hidden = state === "ready";
    if (state === "loading") this.state.replaceChildren(el("p", { class: "waiting", text: `Loading ${this.#title}…` }));
    if (state === "empty") this.state.replaceChildren(el("strong", { text: "No candles yet" }), el("p", { text: this.#whyEmpty() }));
    if (state === "error") this.state.replaceChildren(...this.#problem(error));
  }

  #whyEmpty() {
    if (this.#market.isOpen) return `The first one appears with the next trade of ${this.#title}.`;
    return `${this.#market.describe().text}. The first one appears with the first trade.`;
  }

  #problem(error) {
    const again = el("button", { class: "primary", text: "Try again" });
    again.addEventListener("click", () => {
      const { symbol, tf, indicators } = this.model;
      this.model.show(symbol, tf, indicators);
    });
    return [el("strong", { text: "The candles could not be loaded" }), el("p", { text: error.detail ?? error.message }), again];
  }

  #showConnection() {
    const { state } = this.#socket;
    this.root.dataset.connection = state;
    if (state === "open") this.offline.hidden = true;
    if (state === "waiting") {
      this.offline.hidden = false;
      say(this.offline, "Disconnected: this chart stands still. It catches up by itself when the gateway answers again.");
    }
  }

  #tick() {
    const { last } = this.model.candles;
    const nowMs = this.#socket.nowMs();
    say(byId("clock"), `${clock(nowMs / 1000)} IST`);
    const leftMs = last ? this.#market.endMs(last.ts, this.model.tf) - nowMs : 0;
    say(byId("countdown"), leftMs > 0 ? `candle closes in ${duration(leftMs)}` : "");
    this.#placePaneLegends();
  }
}
