// The drawing of a subject: candles and volume, indicators over them, RSI in a pane of its own.

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  createChart,
} from "../vendor/lightweight-charts.mjs";
import { onceAFrame } from "./events.js";
import { clock, day, fromChart, indian, number, scaleOf, shortDay, toChart } from "./format.js";
import { broken, isOwn, newLine } from "./lines.js";
import { Marks } from "./marks.js";
import { colour, onTheme } from "./theme.js";

const VOLUME_SHARE = 0.18;
const NEAR_THE_LEFT = 60; // candles that are left when older ones are asked for
const MANY = 50; // changes in one frame beyond which everything is drawn anew
const BAR_SPACING = 8;
const RIGHT_OFFSET = 6; // candles' width that is free beside the newest
const FIRST = "first-candle"; // what a load of the page is measured by

/** A chart of a subject in an element. */
export class Chart {
  #subject;
  #indicators = new Map();
  #dirty = new Set();
  #anew = false;
  #shown = "";
  #drawnUntil = 0;
  #onDrawn;

  /**
   * @param {HTMLElement} container
   * @param {import("./subject.js").Subject} subject
   * @param {() => void} onDrawn called after each drawing
   */
  constructor(container, subject, onDrawn) {
    this.#subject = subject;
    this.#onDrawn = onDrawn;
    this.chart = createChart(container, {
      autoSize: true,
      layout: { attributionLogo: true, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      localization: { timeFormatter: (time) => axisTime(fromChart(time), subject.tf) },
      rightPriceScale: { borderVisible: false },
      timeScale: {
        borderVisible: false,
        timeVisible: true,
        secondsVisible: false,
        rightOffset: RIGHT_OFFSET,
        barSpacing: BAR_SPACING,
        minBarSpacing: 1,
      },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
    this.marks = new Marks(subject);
    this.candles.attachPrimitive(this.marks);
    this.#listen();
    this.#paint();
  }

  /** @returns {{name: string, color: string, series: object}[]} the indicators that are drawn */
  get indicators() {
    return [...this.#indicators].map(([name, { color, series }]) => ({ name, color, series }));
  }

  /** @returns {boolean} whether the newest candle is in sight */
  get isAtRealTime() {
    return this.chart.timeScale().scrollPosition() > -1;
  }

  /** Scroll to the newest candle. */
  toRealTime() {
    this.chart.timeScale().scrollToPosition(RIGHT_OFFSET, false);
  }

  /** @returns {{from: number, to: number}|null} the stretch in sight, in epoch seconds */
  get visible() {
    const range = this.chart.timeScale().getVisibleRange();
    return range && { from: fromChart(range.from), to: fromChart(range.to) };
  }

  /** Show a stretch, in epoch seconds. */
  showRange({ from, to }) {
    this.chart.timeScale().setVisibleRange({ from: toChart(from), to: toChart(to) });
  }

  #listen() {
    const drawn = onceAFrame(() => this.#draw());
    const again = () => {
      this.#anew = true;
      drawn();
    };
    this.#subject.on("replaced", again);
    this.#subject.on("older", again);
    this.#subject.on("inserted", again);
    this.#subject.on("changed", (ts) => {
      this.#dirty.add(ts);
      drawn();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < NEAR_THE_LEFT && this.#subject.state === "ready") this.#subject.older();
    });
    onTheme(() => {
      this.#paint();
      again();
    });
  }

  #draw() {
    if (this.#anew || this.#dirty.size > MANY) this.#drawAll();
    else this.#drawChanges();
    this.#anew = false;
    this.#dirty.clear();
    if (this.#drawnUntil && performance.getEntriesByName(FIRST).length === 0) performance.mark(FIRST);
    this.#onDrawn();
  }

  #drawAll() {
    const { rows } = this.#subject.candles;
    const key = `${this.#subject.symbol} ${this.#subject.tf}`;
    this.#prepare();
    this.candles.setData(rows.map((row) => this.#bar(row)));
    this.volume.setData(rows.map((row) => this.#volumeBar(row)));
    for (const [name, { series }] of this.#indicators) series.setData(broken(rows.map((row) => this.#point(name, row))));
    this.#drawnUntil = this.#subject.candles.last?.ts ?? 0;
    if (key !== this.#shown && rows.length) {
      this.#shown = key;
      this.chart.timeScale().resetTimeScale();
      this.chart.priceScale("right").applyOptions({ autoScale: true });
    }
  }

  #drawChanges() {
    const { candles } = this.#subject;
    for (const ts of [...this.#dirty].sort((a, b) => a - b)) {
      const row = candles.at(ts);
      if (!row) continue;
      const old = ts < this.#drawnUntil;
      this.#drawnUntil = Math.max(ts, this.#drawnUntil);
      this.candles.update(this.#bar(row), old);
      this.volume.update(this.#volumeBar(row), old);
      for (const [name, { series }] of this.#indicators) series.update(this.#point(name, row), old);
    }
  }

  /** Make the series that the subject needs, and the price format of its exchange. */
  #prepare() {
    const { indicators, symbol, candles } = this.#subject;
    const { digits } = scaleOf(symbol);
    const format = { type: "custom", minMove: 10 ** -digits, formatter: (value) => number(value, digits) };
    this.candles.applyOptions({ priceFormat: format });
    const hasVolume = candles.rows.some(({ volume }) => volume > 0);
    this.volume.applyOptions({ visible: hasVolume });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: hasVolume ? VOLUME_SHARE + 0.03 : 0.06 } });
    const wanted = new Map(indicators.map(({ name, color }) => [name, color]));
    for (const [name, { series }] of this.#indicators) {
      if (wanted.has(name)) continue;
      this.chart.removeSeries(series);
      this.#indicators.delete(name);
    }
    for (const [name, color] of wanted) {
      const held = this.#indicators.get(name) ?? { series: newLine(this.chart, name, format) };
      held.color = color;
      if (color) held.series.applyOptions({ color });
      this.#indicators.set(name, held);
    }
  }

  #bar({ ts, open, high, low, close }) {
    const { divisor } = scaleOf(this.#subject.symbol);
    return { time: toChart(ts), open: open / divisor, high: high / divisor, low: low / divisor, close: close / divisor };
  }

  #volumeBar({ ts, volume, open, close }) {
    return { time: toChart(ts), value: volume, color: close >= open ? this.upVolume : this.downVolume };
  }

  #point(name, { ts }) {
    const value = this.#subject.values.at(name, ts);
    if (value === undefined) return { time: toChart(ts) };
    const point = { time: toChart(ts), value: isOwn(name) ? value : value / scaleOf(this.#subject.symbol).divisor };
    const color = this.#subject.values.isComputed(name, ts) && this.#indicators.get(name).color;
    return color ? { ...point, color: `${color}90` } : point;
  }

  #paint() {
    const [up, down, grid, line] = ["--candle-up", "--candle-down", "--grid", "--line"].map(colour);
    this.upVolume = colour("--volume-up");
    this.downVolume = colour("--volume-down");
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colour("--panel") },
        textColor: colour("--muted"),
        panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      timeScale: { tickMarkFormatter: (time, kind) => tick(fromChart(time), kind) },
    });
  }
}

/** What the crosshair's time says: with its day, and with the zone. */
function axisTime(s, tf) {
  return tf >= 86_400 ? day(s) : `${day(s)} ${clock(s, tf % 60 !== 0)} IST`;
}

/** A mark of the time axis, by its kind: 0 year, 1 month, 2 day, 3 time, 4 time with seconds. */
function tick(s, kind) {
  if (kind === 0) return String(indian(s).getUTCFullYear());
  if (kind === 1 || kind === 2) return shortDay(s);
  return clock(s, kind === 4);
}
