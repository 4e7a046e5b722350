// The head of both pages: whether values are simulated or live, the market, the connection.

import { get, session } from "./api.js";
import { byId, say } from "./dom.js";
import { age } from "./format.js";
import { isDark, toggleTheme } from "./theme.js";

const SILENT_MS = 15_000;

/** Keep the head of the page up to date. */
export class Header {
  #socket;
  #market;
  #latency = null;

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {import("./market.js").Market} market
   */
  constructor(socket, market) {
    this.#socket = socket;
    this.#market = market;
    this.simulated = null;
    socket.on("hello", ({ simulated }) => this.badge(simulated));
    socket.on("latency", (ms) => (this.#latency = ms));
    socket.on("state", () => this.#show());
    socket.on("refused", () => this.#mayHaveNoToken());
    market.on("changed", () => this.#show());
    byId("theme").addEventListener("click", () => {
      toggleTheme();
      this.#nameTheme();
    });
    setInterval(() => this.#show(), 1_000);
    this.#nameTheme();
    this.#show();
  }

  /** Show what the values are. */
  badge(simulated) {
    if (this.simulated === simulated) return;
    this.simulated = simulated;
    document.documentElement.dataset.values = simulated ? "simulated" : "live";
    say(byId("badge"), simulated ? "SIMULATED" : "LIVE");
    say(byId("badge-detail"), simulated ? "No price on this page is real" : "");
  }

  #show() {
    const { phase, text } = this.#market.describe();
    const market = byId("market");
    market.dataset.phase = phase;
    say(byId("market-text"), text);
    const [state, words] = this.#connection();
    byId("connection").dataset.state = state;
    say(byId("connection-text"), words);
  }

  #connection() {
    const { state, pushedMs } = this.#socket;
    if (state === "connecting") return ["waiting", "Connecting…"];
    if (state === "waiting") return ["down", "Disconnected, trying again"];
    const latency = this.#latency === null ? "" : ` · ${this.#latency} ms`;
    if (!pushedMs) return ["up", `Connected${latency}`];
    const silentMs = Date.now() - pushedMs;
    if (silentMs < SILENT_MS) return ["up", `Live${latency}`];
    if (!this.#market.isOpen) return ["up", `Connected${latency}`];
    return ["waiting", `No data for ${age(silentMs)}${latency}`];
  }

  #nameTheme() {
    byId("theme").setAttribute("aria-label", isDark() ? "Change to light colours" : "Change to dark colours");
  }

  /** A socket that is refused does not say why: where it is for the token, ask for that. */
  async #mayHaveNoToken() {
    try {
      const { required, authorized } = await session();
      if (required && !authorized) await get("/api/config");
    } catch {
      // the head says that there is no connection
    }
  }
}
