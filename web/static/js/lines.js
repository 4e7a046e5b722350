// The lines of indicators: over the candles, or in a pane of their own.

import { LineSeries, LineStyle } from "../vendor/lightweight-charts.mjs";
import { colour } from "./theme.js";

const OWN_SHARE = 0.28; // of the height, for one that is the candles'
const LEVELS = [70, 30];
const RANGE = { minValue: 10, maxValue: 90 };

/** @returns {boolean} whether an indicator has a scale of its own, and so a pane of its own */
export function isOwn(name) {
  return name.startsWith("RSI");
}

/** @returns {object} a new series for an indicator; `format` is that of prices */
export function newLine(chart, name, format) {
  const common = { priceLineVisible: false, crosshairMarkerRadius: 3 };
  if (!isOwn(name)) {
    return chart.addSeries(LineSeries, { ...common, lineWidth: 1, lastValueVisible: false, priceFormat: format }, 0);
  }
  const autoscaleInfoProvider = () => ({ priceRange: RANGE });
  const series = chart.addSeries(LineSeries, { ...common, lineWidth: 1.5, autoscaleInfoProvider }, 1);
  series.getPane().setStretchFactor(OWN_SHARE);
  const level = { color: colour("--faint"), lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false };
  for (const price of LEVELS) series.createPriceLine({ ...level, price });
  return series;
}

/** @returns {object[]} the points of a line, which is not drawn across candles that have no value */
export function broken(points) {
  let goesOn = false;
  for (let index = points.length - 1; index >= 0; index -= 1) {
    if (points[index].value === undefined) continue;
    if (goesOn && points[index + 1].value === undefined) points[index].color = "transparent";
    goesOn = true;
  }
  return points;
}
