// The choice of a timeframe: buttons for the usual ones, a list grouped by size for all.

import { get } from "./api.js";
import { el } from "./dom.js";

const GROUPS = [["Seconds", 1, 59], ["Minutes", 60, 3_599], ["Hours", 3_600, 86_399], ["Days", 86_400, Infinity]];
const BUTTONS = 6;

/** Buttons and a list in an element. */
export class Timeframes {
  #onChosen;
  #timeframes = [];

  /**
   * @param {HTMLElement} root
   * @param {(tf: number) => void} onChosen
   */
  constructor(root, onChosen) {
    this.#onChosen = onChosen;
    this.buttons = el("div", { class: "segments", role: "group", "aria-label": "Timeframe" });
    this.list = el("select", { "aria-label": "All timeframes" });
    this.list.addEventListener("change", () => this.#onChosen(Number(this.list.value)));
    root.append(this.buttons, this.list);
  }

  /** Ask the gateway what there is; throws ApiError. Returns the timeframes in seconds. */
  async load() {
    this.#timeframes = await get("/api/tfs");
    this.buttons.replaceChildren(...this.#buttonTimeframes().map((one) => this.#button(one)));
    this.list.replaceChildren(
      ...GROUPS.map(([label, low, high]) => {
        const inside = this.#timeframes.filter(({ seconds }) => seconds >= low && seconds <= high);
        return el("optgroup", { label }, ...inside.map((one) => el("option", { value: one.seconds, text: one.label })));
      }).filter((group) => group.children.length > 0),
    );
    return this.#timeframes.map(({ seconds }) => seconds);
  }

  /** Show which one is chosen. */
  select(tf) {
    for (const button of this.buttons.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.value) === tf));
    }
    this.list.value = String(tf);
  }

  #buttonTimeframes() {
    const usual = [60, 180, 300, 900, 3_600, 86_400];
    const buttons = this.#timeframes.filter(({ seconds }) => usual.includes(seconds));
    return buttons.length >= 3 ? buttons : this.#timeframes.slice(0, BUTTONS);
  }

  #button({ seconds, label }) {
    const made = el("button", { value: seconds, "aria-pressed": "false", text: label });
    made.addEventListener("click", () => this.#onChosen(seconds));
    return made;
  }
}
