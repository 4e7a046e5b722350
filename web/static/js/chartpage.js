// The chart page: one instrument, as large as the window.

import { byId, el } from "./dom.js";
import { Header } from "./header.js";
import { Indicators } from "./indicators.js";
import { loadInstruments, usual } from "./instruments.js";
import { manageIndicators } from "./manager.js";
import { Market } from "./market.js";
import { Panel } from "./panel.js";
import { readPlace, writePlace } from "./place.js";
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
const place = readPlace();
const timeframes = new Timeframes(byId("timeframes"), (tf) => show({ tf, visible: null }));
const search = new Search((instrument) => show({ symbol: instrument.id, visible: null }));
let instruments = [];
let showManager = () => {};
let timer = 0;

function show(change = {}) {
  Object.assign(place, change);
  const instrument = instruments.find(({ id }) => id === place.symbol) ?? usual(instruments);
  if (!instrument) return;
  place.symbol = instrument.id;
  document.title = `${instrument.symbol} · topology`;
  byId("symbol").textContent = instrument.symbol;
  timeframes.mark(place.tf);
  panel.show(instrument, place.tf, wanted());
  showManager();
  write();
}

function write() {
  writePlace({ ...place, indicators: wanted().map(({ name }) => name) });
}

/** Those that the address names, in the colours of all; else those that are shown everywhere. */
function wanted() {
  if (!place.indicators) return indicators.of(place.tf);
  const computed = indicators.computed.get(place.tf) ?? [];
  const colours = new Map(indicators.of(place.tf).map(({ name, color }) => [name, color]));
  return place.indicators
    .filter((name) => computed.includes(name))
    .map((name) => ({ name, color: colours.get(name) ?? indicators.usualColor(name) }));
}

function moved() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const { visible, isAtRealTime } = panel.drawing;
    if (panel.subject.state !== "ready") return;
    place.visible = isAtRealTime ? null : visible;
    write();
  }, WRITTEN_MS);
}

async function load() {
  try {
    const { symbol, tf, visible } = place;
    const early = symbol && { id: symbol, symbol }; // what it is called is learned while its candles come
    if (visible) backTo(visible);
    if (early && place.indicators) panel.show(early, tf, place.indicators.map((name) => ({ name, color: "" })));
    const asked = Promise.all([loadInstruments(), timeframes.load(), market.ask()]);
    header.badge(await indicators.load());
    if (early) panel.show(early, tf, wanted());
    [instruments] = await asked;
    search.use(instruments);
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

/** Show the stretch that the address names, once, when there is something to show. */
function backTo(visible) {
  let done = false;
  panel.subject.on("state", (state) => {
    if (done || state !== "ready") return;
    done = true;
    panel.showRange(visible);
  });
}

const actions = {
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen()),
  screenshot: () => panel.save(header.simulated),
  manage: () => byId("manager").showModal(),
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

showManager = manageIndicators(byId("indicators"), indicators, () => place.tf);
byId("manager").append(el("form", { method: "dialog" }, el("button", { text: "Close" })));
toastEvents(socket);
indicators.on("changed", () => {
  if (!instruments.length) return;
  place.indicators = null; // somebody has chosen anew
  show();
});
socket.start();
panel.drawing.chart.timeScale().subscribeVisibleLogicalRangeChange(moved);
socket.start();
load();
