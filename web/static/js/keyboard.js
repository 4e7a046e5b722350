// A chart by keyboard: arrows move it, plus and minus change its scale, Home and End go to either side.

const STEP = 10; // candles
const SCALE = 1.25;
const SPACING = [1, 60]; // pixels of a candle, at least and at most

/**
 * @param {HTMLElement} element which has the focus while keys are meant for the chart
 * @param {import("./chart.js").Chart} drawing
 */
export function bindKeys(element, drawing) {
  element.tabIndex = 0;
  element.addEventListener("keydown", (event) => {
    const action = event.key === "End" ? () => drawing.toRealTime() : ACTIONS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action(drawing.chart.timeScale());
  });
}

const ACTIONS = {
  ArrowLeft: (scale) => scale.scrollToPosition(scale.scrollPosition() - STEP, false),
  ArrowRight: (scale) => scale.scrollToPosition(scale.scrollPosition() + STEP, false),
  "+": (scale) => zoom(scale, SCALE),
  "=": (scale) => zoom(scale, SCALE),
  "-": (scale) => zoom(scale, 1 / SCALE),
  Home: (scale) => {
    const { from, to } = scale.getVisibleLogicalRange();
    scale.setVisibleLogicalRange({ from: 0, to: to - from });
  },
};

function zoom(scale, factor) {
  const spacing = scale.options().barSpacing * factor;
  scale.applyOptions({ barSpacing: Math.min(Math.max(spacing, SPACING[0]), SPACING[1]) });
}
