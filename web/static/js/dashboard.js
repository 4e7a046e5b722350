// The dashboard: watchlist, a chart of the chosen instrument, indicators, and how everything is.

import { byId, say } from "./dom.js";
import { Header } from "./header.js";
import { Indicators } from "./indicators.js";
import { loadInstruments, usual } from "./instruments.js";
import { manageIndicators } from "./manager.js";
import { Market } from "./market.js";
import { Panel } from "./panel.js";
import { showPipeline } from "./pipeline.js";
import { readPlace, writePlace } from "./place.js";
import { Quotes } from "./quotes.js";
import { Search } from "./search.js";
import { Socket } from "./socket.js";
import { useTabs } from "./tabs.js";
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
const tab = useTabs("watch");
const showIndicators = manageIndicators(byId("indicators"), indicators, () => shown.tf);

function show(instrument, tf) {
  if (!instrument) return;
  Object.assign(shown, { instrument, tf });
  watchlist.choose(instrument.id);
  timeframes.mark(tf);
  showIndicators();
  panel.show(instrument, tf, indicators.of(tf));
  const place = { symbol: instrument.id, tf, indicators: null, visible: null };
  writePlace(place);
  const names = indicators.of(tf).map(({ name }) => name);
  byId("full").href = `/chart?symbol=${instrument.id}&tf=${tf}&indicators=${names}`;
}

function use(instruments) {
  quotes.follow(instruments);
  watchlist.use(instruments);
  search.use(instruments);
}

/** Look for instruments that have got their first price. */
async function look() {
  const instruments = await loadInstruments().catch(() => []);
  if (instruments.length) use(instruments);
  if (!shown.instrument) show(usual(instruments), shown.tf);
  setTimeout(look, instruments.length ? LOOK_MS : AGAIN_MS);
}

async function load() {
  say(byId("watch-none"), "Loading…");
  try {
    const asked = [loadInstruments(), indicators.load(), timeframes.load(), market.ask()];
    const [instruments, simulated] = await Promise.all(asked);
    header.badge(simulated);
    use(instruments);
    setTimeout(look, instruments.length ? LOOK_MS : AGAIN_MS);
    const place = readPlace();
    show(instruments.find(({ id }) => id === place.symbol) ?? usual(instruments), place.tf);
  } catch (error) {
    say(byId("watch-none"), `${error.message} The page tries again in a few seconds.`);
    setTimeout(load, AGAIN_MS);
  }
}

toastEvents(socket);
watchlist.on("chosen", (instrument) => {
  show(instrument, shown.tf);
});
byId("watch").addEventListener("click", (event) => event.target.closest("tbody tr") && tab("chart"));
indicators.on("changed", () => shown.instrument && panel.show(shown.instrument, shown.tf, indicators.of(shown.tf)));
byId("search").addEventListener("click", () => search.open());
socket.start();
load();
showPipeline(socket);
