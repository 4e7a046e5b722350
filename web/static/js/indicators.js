// Which indicators are computed, and which of them are shown in which colour: the same on all pages and gateways.

import { get, post } from "./api.js";
import { Emitter } from "./events.js";

const PALETTE = ["#2f80ed", "#f2994a", "#bb6bd9", "#16a5b8", "#e0507d", "#6aa84f", "#c9a227", "#8d6e63"];

/** The kinds that can be added, with the longest period of any. */
export const KINDS = ["SMA", "EMA", "SMMA", "RSI"];
export const LONGEST = 500;

/** Emits `changed`. */
export class Indicators extends Emitter {
  /** @type {Map<number, string[]>} what is computed, by timeframe */
  computed = new Map();
  /** @type {{name: string, tf: number, color?: string}[]} what is shown */
  entries = [];

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    socket.on("configuration", ({ config }) => this.#configured(config));
    socket.on("config_update", ({ entries }) => this.#shown(entries));
  }

  /** Ask the gateway; throws ApiError. Returns whether the values are simulated. */
  async load() {
    const [config, active] = await Promise.all([get("/api/config"), get("/api/indicators/active")]);
    this.entries = active.entries;
    this.#configured(config);
    return config.simulated;
  }

  /** @returns {{name: string, color: string}[]} those that a chart of a timeframe shows */
  of(tf) {
    const computed = this.computed.get(tf) ?? [];
    const shown = this.entries.filter((entry) => entry.tf === tf && computed.includes(entry.name));
    return shown.map(({ name, color }) => ({ name, color: color || this.usualColor(name) }));
  }

  /** @returns {string} the colour of an indicator for which nobody has chosen one */
  usualColor(name) {
    const names = [...new Set([...this.computed.values()].flat())];
    return PALETTE[Math.max(0, names.indexOf(name)) % PALETTE.length];
  }

  /** Show it, hide it, or give it a colour; throws ApiError. */
  async show(name, tf, { shown = true, color } = {}) {
    const others = this.entries.filter((entry) => entry.name !== name || entry.tf !== tf);
    const own = { name, tf, color: color ?? this.of(tf).find((one) => one.name === name)?.color ?? this.usualColor(name) };
    await this.#choose(shown ? [...others, own] : others);
  }

  /** Have another one computed; throws ApiError. */
  async add(kind, period, tf) {
    const name = `${kind}_${period}`;
    const names = this.computed.get(tf) ?? [];
    if (!names.includes(name)) await this.#reload(new Map([...this.computed, [tf, [...names, name]]]));
    await this.show(name, tf);
  }

  /** Have one no longer computed; throws ApiError. */
  async remove(name, tf) {
    await this.show(name, tf, { shown: false });
    await this.#reload(new Map([...this.computed, [tf, (this.computed.get(tf) ?? []).filter((one) => one !== name)]]));
  }

  async #choose(entries) {
    const known = entries.filter(({ name, tf }) => this.computed.get(tf)?.includes(name));
    await post("/api/indicators/active", { entries: known });
    this.#shown(known);
  }

  /** The whole configuration is sent, since it is replaced as a whole. */
  async #reload(computed) {
    const body = [...computed].map(([TF, names]) => ({
      TF,
      Indicators: names.map((name) => ({ Type: name.split("_")[0], Period: Number(name.split("_")[1]) })),
    }));
    await post("/reload", body);
    this.computed = computed;
    this.emit("changed");
  }

  #configured({ timeframes }) {
    this.computed = new Map(Object.entries(timeframes).map(([tf, names]) => [Number(tf), names]));
    this.emit("changed");
  }

  #shown(entries) {
    this.entries = entries;
    this.emit("changed");
  }
}
