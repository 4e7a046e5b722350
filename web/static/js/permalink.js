// What a chart shows, in the address of the page: it can be sent to somebody, and comes back with a reload.

const LAST = "last"; // where this browser keeps what it has shown last

/**
 * @typedef {{symbol: string, tf: number, indicators: string[]|null, visible: {from: number, to: number}|null}} ChartView
 */

/** @returns {ChartView} what the address says; what it leaves out is as it was last, but for the range of time */
export function readPermalink() {
  const given = new URLSearchParams(location.search);
  const last = new URLSearchParams(localStorage.getItem(LAST) ?? "");
  const of = (name) => given.get(name) ?? last.get(name) ?? "";
  const [from, to] = (given.get("visible") ?? "").split("-").map(Number);
  const indicators = given.get("indicators");
  return {
    symbol: of("symbol"),
    tf: Number(of("tf")) || 60,
    indicators: indicators === null ? null : indicators.split(",").filter(Boolean),
    visible: from && to ? { from, to } : null,
  };
}

/** Write it into the address. */
export function writePermalink({ symbol, tf, indicators, visible }) {
  const given = new URLSearchParams({ symbol, tf: String(tf) });
  localStorage.setItem(LAST, String(given));
  if (indicators) given.set("indicators", indicators.join(","));
  if (visible) given.set("visible", `${visible.from}-${visible.to}`);
  history.replaceState(null, "", `?${String(given).replaceAll("%3A", ":").replaceAll("%2C", ",")}`);
}
