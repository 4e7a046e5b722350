// The series of indicators: over the candles, or in a pane of their type's own.

import { LineSeries, LineStyle } from "../vendor/lightweight-charts.mjs";
import { colour } from "./theme.js";

const OWN_SHARE = 0.28; // of the height, for one that is the candles'

/**
 * @param {object} chart
 * @param {import("./indicators.js").IndicatorType} type
 * @param {number} pane its index in the chart; 0 is that of the candles
 * @param {object} format that of prices
 * @returns {object} a new series for an indicator of this type
 */
export function addIndicatorSeries(chart, type, pane, format) {
  const common = { priceLineVisible: false, crosshairMarkerRadius: 3 };
  if (type.pane === "price") {
    return chart.addSeries(LineSeries, { ...common, lineWidth: 1, lastValueVisible: false, priceFormat: format }, pane);
  }
  const series = chart.addSeries(LineSeries, { ...common, lineWidth: 1.5, ...fixedScale(type.bounds) }, pane);
  series.getPane().setStretchFactor(OWN_SHARE);
  const level = { color: colour("--faint"), lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false };
  for (const price of type.levels) series.createPriceLine({ ...level, price });
  return series;
}

/** Without bounds the scale follows the values. */
function fixedScale(bounds) {
  if (!bounds) return {};
  const [minValue, maxValue] = bounds;
  return { autoscaleInfoProvider: () => ({ priceRange: { minValue, maxValue } }) };
}

/** @returns {object[]} the points of a series, whose line is not drawn across candles that have no value */
export function hideGaps(points) {
  let continues = false;
  for (let index = points.length - 1; index >= 0; index -= 1) {
    if (points[index].value === undefined) continue;
    if (continues && points[index + 1].value === undefined) points[index].color = "transparent";
    continues = true;
  }
  return points;
}
