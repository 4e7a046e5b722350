// What is known of candles beyond their prices, drawn behind them: sessions, gaps, and where candles come from.

import { isCorrected } from "./candles.js";
import { indianDay } from "./format.js";
import { colour } from "./theme.js";

const DAY_S = 86_400;

/**
 * Draws for each candle in sight: a dashed line where a session begins; shading where the feed saw only a part of it
 * (`partial`); a narrow band where candles are missing before it, pale where nothing was traded, strong where the feed
 * saw nothing; a line along the bottom under those that are the broker's history; a dot under those that this has
 * corrected. A primitive of the candles' series.
 */
export class Annotations {
  #model;
  #chart;
  #series;

  /** @param {import("./chartmodel.js").ChartModel} model */
  constructor(model) {
    this.#model = model;
  }

  /** @internal called by the chart */
  attached({ chart, series, requestUpdate }) {
    this.#chart = chart;
    this.#series = series;
    this.#model.on("gaps", requestUpdate);
  }

  /** @internal called by the chart */
  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#draw(target) }) }];
  }

  #draw(target) {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    const { rows } = this.#model.candles;
    if (!range || rows.length === 0) return;
    const first = Math.max(0, Math.floor(range.from));
    const last = Math.min(rows.length - 1, Math.ceil(range.to));
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      const pen = new Pen(context, bitmapSize.height, h, v);
      for (let index = first; index <= last; index += 1) this.#annotate(pen, rows, index);
    });
  }

  #annotate(pen, rows, index) {
    const scale = this.#chart.timeScale();
    const x = scale.logicalToCoordinate(index);
    const width = scale.logicalToCoordinate(index + 1) - x;
    const candle = rows[index];
    if (x === null) return;
    if (candle.partial) pen.band(x - width / 2, width, "--gap");
    if (candle.source) pen.foot(x - width / 2, width, "--origin");
    if (isCorrected(candle)) pen.dot(x, this.#series.priceToCoordinate(this.#low(candle)) + 7, "--corrected");
    if (index === 0 || this.#model.tf >= DAY_S) return;
    const before = rows[index - 1];
    if (indianDay(before.ts) !== indianDay(candle.ts)) pen.line(x - width / 2, "--session");
    else if (candle.ts - before.ts > this.#model.tf) {
      const seen = !this.#model.gaps.overlap(before.ts + this.#model.tf, candle.ts);
      pen.band(x - width / 2 - 2, 4, seen ? "--missing" : "--gap-between");
    }
  }

  #low(candle) {
    return this.#series.dataByIndex(this.#model.candles.indexOf(candle.ts))?.low ?? 0;
  }
}

/** Draws in the coordinates of the page on a canvas with those of the screen. */
class Pen {
  #colours = new Map();

  constructor(context, height, h, v) {
    this.context = context;
    this.height = height;
    this.h = h;
    this.v = v;
  }

  band(x, width, name) {
    this.context.fillStyle = this.#colour(name);
    this.context.fillRect(Math.round(x * this.h), 0, Math.max(1, Math.round(width * this.h)), this.height);
  }

  foot(x, width, name) {
    this.context.fillStyle = this.#colour(name);
    const thick = Math.round(2 * this.v);
    this.context.fillRect(Math.round(x * this.h), this.height - thick, Math.ceil(width * this.h), thick);
  }

  dot(x, y, name) {
    this.context.fillStyle = this.#colour(name);
    this.context.beginPath();
    this.context.arc(x * this.h, y * this.v, 2 * this.h, 0, 2 * Math.PI);
    this.context.fill();
  }

  line(x, name) {
    const { context } = this;
    context.strokeStyle = this.#colour(name);
    context.lineWidth = Math.max(1, Math.floor(this.h));
    context.setLineDash([4 * this.v, 4 * this.v]);
    context.beginPath();
    context.moveTo(Math.round(x * this.h) + 0.5, 0);
    context.lineTo(Math.round(x * this.h) + 0.5, this.height);
    context.stroke();
    context.setLineDash([]);
  }

  #colour(name) {
    if (!this.#colours.has(name)) this.#colours.set(name, colour(name));
    return this.#colours.get(name);
  }
}
