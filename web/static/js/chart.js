// The drawing of a chart's model: candles and volume, indicators over them or in panes below.

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  createChart,
} from "../vendor/lightweight-charts.mjs";
import { Annotations } from "./annotations.js";
import { onceAFrame } from "./events.js";
import { clock, day, divisorOf, fromChart, indian, number, scaleOf, shortDay, toChart } from "./format.js";
import { addIndicatorSeries, hideGaps } from "./indicatorseries.js";
import { colour, onTheme } from "./theme.js";

const VOLUME_SHARE = 0.18;
const NEAR_THE_LEFT = 60; // candles that are left when older ones are asked for
const MANY = 50; // changes in one frame beyond which everything is drawn anew
const BAR_SPACING = 8;
const RIGHT_OFFSET = 6; // candles' width that is free beside the newest
const FIRST = "first-candle"; // what a load of the page is measured by

/** A chart in an element, of what its model has. */
export class Chart {
  #model;
  #indicators = new Map();
  #dirty = new Set();
  #anew = false;
  #drawnKey = "";
  #drawnUntil = 0;
  #onDrawn;

  /**
   * @param {HTMLElement} container
   * @param {import("./chartmodel.js").ChartModel} model
   * @param {() => void} onDrawn called after each drawing
   */
  constructor(container, model, onDrawn) {
    this.#model = model;
    this.#onDrawn = onDrawn;
    this.chart = createChart(container, {
      autoSize: true,
      layout: { attributionLogo: true, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      localization: { timeFormatter: (time) => axisTime(fromChart(time), model.tf) },
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
    this.annotations = new Annotations(model);
    this.candles.attachPrimitive(this.annotations);
    this.#listen();
    this.#paint();
  }

  /** @returns {{name: string, color: string, type: object, series: object}[]} the indicators that are drawn */
  get indicators() {
    return [...this.#indicators].map(([name, drawn]) => ({ name, ...drawn }));
  }

  /** @returns {boolean} whether the newest candle is in sight */
  get isAtRealTime() {
    return this.chart.timeScale().scrollPosition() > -1;
  }

  /** Scroll to the newest candle. */
  toRealTime() {
    this.chart.timeScale().scrollToPosition(RIGHT_OFFSET, false);
  }

  /** @returns {{from: number, to: number}|null} the range in sight, in epoch seconds */
  get visible() {
    const range = this.chart.timeScale().getVisibleRange();
    return range && { from: fromChart(range.from), to: fromChart(range.to) };
  }

  /** Show a range, in epoch seconds. */
  showRange({ from, to }) {
    this.chart.timeScale().setVisibleRange({ from: toChart(from), to: toChart(to) });
  }

  #listen() {
    const drawn = onceAFrame(() => this.#draw());
    const again = () => {
      this.#anew = true;
      drawn();
    };
    this.#model.on("replaced", again);
    this.#model.on("older", again);
    this.#model.on("inserted", again);
    this.#model.on("changed", (ts) => {
      this.#dirty.add(ts);
      drawn();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < NEAR_THE_LEFT && this.#model.state === "ready") this.#model.older();
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
    const { rows } = this.#model.candles;
    const key = `${this.#model.symbol} ${this.#model.tf}`;
    this.#prepare();
    this.candles.setData(rows.map((row) => this.#bar(row)));
    this.volume.setData(rows.map((row) => this.#volumeBar(row)));
    for (const [name, { series }] of this.#indicators) series.setData(hideGaps(rows.map((row) => this.#point(name, row))));
    this.#drawnUntil = this.#model.candles.last?.ts ?? 0;
    if (key !== this.#drawnKey && rows.length) {
      this.#drawnKey = key;
      this.chart.timeScale().resetTimeScale();
      this.chart.priceScale("right").applyOptions({ autoScale: true });
    }
  }

  #drawChanges() {
    const { candles } = this.#model;
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

  /** Make the series that the model needs, and the price format of its exchange. */
  #prepare() {
    const { indicators, symbol, candles } = this.#model;
    const { digits } = scaleOf(symbol);
    const format = { type: "custom", minMove: 10 ** -digits, formatter: (value) => number(value, digits) };
    this.candles.applyOptions({ priceFormat: format });
    const hasVolume = candles.rows.some(({ volume }) => volume > 0);
    this.volume.applyOptions({ visible: hasVolume });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: hasVolume ? VOLUME_SHARE + 0.03 : 0.06 } });
    const drawable = indicators.filter(({ type }) => type); // those without a type come when `/api/config` is loaded
    for (const [name, { series }] of this.#indicators) {
      if (drawable.some((one) => one.name === name)) continue;
      this.chart.removeSeries(series);
      this.#indicators.delete(name);
    }
    for (const { name, color, type } of drawable) {
      const series =
        this.#indicators.get(name)?.series ?? addIndicatorSeries(this.chart, type, this.#paneOf(type), format);
      if (color) series.applyOptions({ color });
      this.#indicators.set(name, { color, type, series });
    }
  }

  /** The index of the pane for a type: all of a type share one. */
  #paneOf(type) {
    if (type.pane === "price") return 0;
    const other = this.indicators.find((one) => one.type.id === type.id);
    return other ? other.series.getPane().paneIndex() : this.chart.panes().length;
  }

  #bar({ ts, open, high, low, close }) {
    const { divisor } = scaleOf(this.#model.symbol);
    return { time: toChart(ts), open: open / divisor, high: high / divisor, low: low / divisor, close: close / divisor };
  }

  #volumeBar({ ts, volume, open, close }) {
    return { time: toChart(ts), value: volume, color: close >= open ? this.upVolume : this.downVolume };
  }

  #point(name, { ts }) {
    const { type } = this.#indicators.get(name);
    const value = this.#model.values.at(name, ts);
    if (value === undefined) return { time: toChart(ts) };
    const point = { time: toChart(ts), value: value / divisorOf(type, this.#model.symbol) };
    const color = this.#model.values.isComputed(name, ts) && this.#indicators.get(name).color;
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
