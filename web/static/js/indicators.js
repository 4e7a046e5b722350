// Which indicators are computed, and which of them are shown in which colour: the same on all pages and gateways.

import { get, post } from "./api.js";
import { Emitter } from "./events.js";

const PALETTE = ["#2f80ed", "#f2994a", "#bb6bd9", "#16a5b8", "#e0507d", "#6aa84f", "#c9a227", "#8d6e63"];

/**
 * A type of indicators, as `/api/config` describes it. `pane` is `price` for values in paise, which are drawn over the
 * candles, or `own` for a pane of the type's own, with lines at `levels` and a scale from `bounds`, if it has any.
 * @typedef {{id: string, title: string, about: string, longest_period: number, default_period: number,
 *   pane: "price"|"own", levels: number[], bounds: [number, number]|null}} IndicatorType
 */

/**
 * An indicator that a chart shows; its type is undefined until `/api/config` is loaded.
 * @typedef {{name: string, color: string, type: IndicatorType|undefined}} ShownIndicator
 */

/** Emits `changed`. */
export class Indicators extends Emitter {
  /** @type {Map<string, IndicatorType>} what there is, by id; empty until `/api/config` is loaded */
  types = new Map();
  /** @type {Map<number, string[]>} what is computed, by timeframe */
  computed = new Map();
  /** @type {{name: string, tf: number, color?: string}[]} what is shown */
  entries = [];

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    socket.on("configuration", ({ config }) => this.#configure(config));
    socket.on("config_update", ({ entries }) => this.#setEntries(entries));
  }

  /** Ask the gateway; throws ApiError. Returns whether the values are simulated. */
  async load() {
    const [config, active] = await Promise.all([get("/api/config"), get("/api/indicators/active")]);
    this.entries = active.entries;
    this.#configure(config);
    return config.simulated;
  }

  /** @returns {ShownIndicator[]} those that a chart of a timeframe shows */
  of(tf) {
    const computed = this.computed.get(tf) ?? [];
    const shown = this.entries.filter((entry) => entry.tf === tf && computed.includes(entry.name));
    return shown.map(({ name, color }) => this.describe(name, color || this.defaultColor(name)));
  }

  /** @returns {ShownIndicator} an indicator by its name, such as `SMA_20` */
  describe(name, color) {
    return { name, color, type: this.types.get(name.split("_")[0]) };
  }

  /** @returns {string} the colour of an indicator for which nobody has chosen one */
  defaultColor(name) {
    const names = [...new Set([...this.computed.values()].flat())];
    return PALETTE[Math.max(0, names.indexOf(name)) % PALETTE.length];
  }

  /**
   * Show it, hide it, or give it a colour; throws ApiError.
   * @param {string} name
   * @param {number} tf
   * @param {{shown?: boolean, color?: string}} [change]
   */
  async show(name, tf, { shown = true, color } = {}) {
    const others = this.entries.filter((entry) => entry.name !== name || entry.tf !== tf);
    const own = { name, tf, color: color ?? this.of(tf).find((one) => one.name === name)?.color ?? this.defaultColor(name) };
    await this.#choose(shown ? [...others, own] : others);
  }

  /** Have another one computed; throws ApiError. */
  async add(type, period, tf) {
    const name = `${type}_${period}`;
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
    const computed = entries.filter(({ name, tf }) => this.computed.get(tf)?.includes(name));
    await post("/api/indicators/active", { entries: computed });
    this.#setEntries(computed);
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

  #configure({ timeframes, indicator_types: types }) {
    this.types = new Map(types.map((type) => [type.id, type]));
    this.computed = new Map(Object.entries(timeframes).map(([tf, names]) => [Number(tf), names]));
    this.emit("changed");
  }

  #setEntries(entries) {
    this.entries = entries;
    this.emit("changed");
  }
}
