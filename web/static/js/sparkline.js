// A line of the last closes, as small as a word.

import { svg } from "./dom.js";

const WIDTH = 88;
const HEIGHT = 22;

/** @returns {SVGElement} an empty one */
export function sparkline() {
  const line = svg("polyline", { fill: "none", "stroke-width": "1.25", "vector-effect": "non-scaling-stroke" });
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" }, line);
}

/** Draw closes, the oldest first. */
export function drawSparkline(element, closes) {
  if (closes.length < 2) return;
  const low = Math.min(...closes);
  const span = Math.max(...closes) - low || 1;
  const step = WIDTH / (closes.length - 1);
  const points = closes.map((close, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - ((close - low) / span) * (HEIGHT - 4)).toFixed(1)}`);
  element.firstElementChild.setAttribute("points", points.join(" "));
  element.dataset.direction = closes[closes.length - 1] >= closes[0] ? "up" : "down";
}
