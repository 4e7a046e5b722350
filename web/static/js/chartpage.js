// The chart page: one instrument, as large as the window.

import { byId, el } from "./dom.js";
import { Header } from "./header.js";
import { showIndicatorList } from "./indicatorlist.js";
import { Indicators } from "./indicators.js";
import { defaultInstrument, loadInstruments } from "./instruments.js";
import { Market } from "./market.js";
import { Panel } from "./panel.js";
import { readPermalink, writePermalink } from "./permalink.js";
import { Search } from "./search.js";
import { Socket } from "./socket.js";
import { Timeframes } from "./timeframes.js";
import { toastError, toastEvents } from "./toasts.js";
import { askWhenRefused } from "./token.js";

const AGAIN_MS = 3_000;
const WRITTEN_MS = 400; // after the last movement of the chart

askWhenRefused();
const socket = new Socket();
const market = new Market(socket);
const header = new Header(socket, market);
const panel = new Panel(socket, market);
const indicators = new Indicators(socket);
const view = readPermalink();
const timeframes = new Timeframes(byId("timeframes"), (tf) => show({ tf, visible: null }));
const search = new Search((instrument) => show({ symbol: instrument.id, visible: null }));
let instruments = [];
let showList = () => {};
let timer = 0;

function show(change = {}) {
  Object.assign(view, change);
  const instrument = instruments.find(({ id }) => id === view.symbol) ?? defaultInstrument(instruments);
  if (!instrument) return;
  view.symbol = instrument.id;
  document.title = `${instrument.symbol} · topology`;
  byId("symbol").textContent = instrument.symbol;
  timeframes.select(view.tf);
  panel.show(instrument, view.tf, chosen());
  showList();
  write();
}

function write() {
  writePermalink({ ...view, indicators: chosen().map(({ name }) => name) });
}

/** Those that the address names, in the colours of all; else those that are shown everywhere. */
function chosen() {
  if (!view.indicators) return indicators.of(view.tf);
  const computed = indicators.computed.get(view.tf) ?? [];
  const colours = new Map(indicators.of(view.tf).map(({ name, color }) => [name, color]));
  return view.indicators
    .filter((name) => computed.includes(name))
    .map((name) => indicators.describe(name, colours.get(name) ?? indicators.defaultColor(name)));
}

function scheduleWrite() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const { visible, isAtRealTime } = panel.drawing;
    if (panel.model.state !== "ready") return;
    view.visible = isAtRealTime ? null : visible;
    write();
  }, WRITTEN_MS);
}

async function load() {
  try {
    const { symbol, tf, visible } = view;
    const linked = symbol && { id: symbol, symbol }; // what it is called is learned while its candles come
    if (visible) backTo(visible);
    if (linked && view.indicators) panel.show(linked, tf, view.indicators.map((name) => indicators.describe(name, "")));
    const loading = Promise.all([loadInstruments(), timeframes.load(), market.ask()]);
    header.badge(await indicators.load());
    if (linked) panel.show(linked, tf, chosen());
    [instruments] = await loading;
    search.setInstruments(instruments);
    show();
    if (!instruments.length) {
      panel.fail("There is no instrument yet", "SUBSCRIBE_TOKENS says what the feed brings. The page looks again in a few seconds.");
      setTimeout(load, AGAIN_MS);
    }
  } catch (error) {
    panel.fail("The page could not be loaded", `${error.message} It tries again in a few seconds.`);
    setTimeout(load, AGAIN_MS);
  }
}

/** Show the range that the address names, once, when there is something to show. */
function backTo(visible) {
  let done = false;
  panel.model.on("state", (state) => {
    if (done || state !== "ready") return;
    done = true;
    panel.showRange(visible);
  });
}

const actions = {
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen()),
  screenshot: () => panel.save(header.simulated),
  manage: () => byId("indicator-dialog", HTMLDialogElement).showModal(),
  search: () => search.open(),
};
for (const [id, action] of Object.entries(actions)) {
  byId(id).addEventListener("click", async () => {
    try {
      await action();
    } catch (error) {
      toastError("That did not work", error);
    }
  });
}

showList = showIndicatorList(byId("indicators"), indicators, () => view.tf);
byId("indicator-dialog").append(el("form", { method: "dialog" }, el("button", { text: "Close" })));
toastEvents(socket);
indicators.on("changed", () => {
  if (!instruments.length) return;
  view.indicators = null; // somebody has chosen anew
  show();
});
socket.start();
panel.drawing.chart.timeScale().subscribeVisibleLogicalRangeChange(scheduleWrite);
socket.start();
load();
