// The dashboard: watchlist, a chart of the chosen instrument, indicators, and how everything is.

import { byId, say } from "./dom.js";
import { Header } from "./header.js";
import { showIndicatorList } from "./indicatorlist.js";
import { Indicators } from "./indicators.js";
import { defaultInstrument, loadInstruments } from "./instruments.js";
import { Market } from "./market.js";
import { Panel } from "./panel.js";
import { readPermalink, writePermalink } from "./permalink.js";
import { showPipeline } from "./pipeline.js";
import { Quotes } from "./quotes.js";
import { Search } from "./search.js";
import { Socket } from "./socket.js";
import { bindTabs } from "./tabs.js";
import { Timeframes } from "./timeframes.js";
import { toastEvents } from "./toasts.js";
import { askWhenRefused } from "./token.js";
import { Watchlist } from "./watchlist.js";

const AGAIN_MS = 3_000;
const LOOK_MS = 30_000; // between looks for new instruments

askWhenRefused();
const shown = { instrument: null, tf: 60 };
const socket = new Socket();
const market = new Market(socket);
const header = new Header(socket, market);
const panel = new Panel(socket, market);
const indicators = new Indicators(socket);
const quotes = new Quotes(socket);
const watchlist = new Watchlist(quotes, market);
const timeframes = new Timeframes(byId("timeframes"), (tf) => show(shown.instrument, tf));
const search = new Search((instrument) => show(instrument, shown.tf));
const tab = bindTabs("watch");
const showIndicators = showIndicatorList(byId("indicators"), indicators, () => shown.tf);

function show(instrument, tf) {
  if (!instrument) return;
  Object.assign(shown, { instrument, tf });
  watchlist.choose(instrument.id);
  timeframes.select(tf);
  showIndicators();
  panel.show(instrument, tf, indicators.of(tf));
  const view = { symbol: instrument.id, tf, indicators: null, visible: null };
  writePermalink(view);
  const names = indicators.of(tf).map(({ name }) => name);
  byId("full", HTMLAnchorElement).href = `/chart?symbol=${instrument.id}&tf=${tf}&indicators=${names}`;
}

function setInstruments(instruments) {
  quotes.follow(instruments);
  watchlist.setInstruments(instruments);
  search.setInstruments(instruments);
}

/** Look for instruments that have got their first price. */
async function look() {
  const instruments = await loadInstruments().catch(() => []);
  if (instruments.length) setInstruments(instruments);
  if (!shown.instrument) show(defaultInstrument(instruments), shown.tf);
  setTimeout(look, instruments.length ? LOOK_MS : AGAIN_MS);
}

async function load() {
  say(byId("watch-none"), "Loading…");
  try {
    const loading = [loadInstruments(), indicators.load(), timeframes.load(), market.ask()];
    const [instruments, simulated] = await Promise.all(loading);
    header.badge(simulated);
    setInstruments(instruments);
    setTimeout(look, instruments.length ? LOOK_MS : AGAIN_MS);
    const view = readPermalink();
    show(instruments.find(({ id }) => id === view.symbol) ?? defaultInstrument(instruments), view.tf);
  } catch (error) {
    say(byId("watch-none"), `${error.message} The page tries again in a few seconds.`);
    setTimeout(load, AGAIN_MS);
  }
}

toastEvents(socket);
watchlist.on("chosen", (instrument) => {
  show(instrument, shown.tf);
});
byId("watch").addEventListener("click", (event) => /** @type {Element} */ (event.target).closest("tbody tr") && tab("chart"));
indicators.on("changed", () => shown.instrument && panel.show(shown.instrument, shown.tf, indicators.of(shown.tf)));
byId("search").addEventListener("click", () => search.open());
socket.start();
load();
showPipeline(socket);
