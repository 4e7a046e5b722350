// The search for an instrument: typing anywhere opens it.

import { el, isTyping } from "./dom.js";
import { matching } from "./instruments.js";

const MOST = 50;

/** A dialog with a field and what it finds. */
export class Search {
  #instruments = [];
  #matches = [];
  #at = 0;
  #onChosen;

  /** @param {(instrument: import("./instruments.js").Instrument) => void} onChosen */
  constructor(onChosen) {
    this.#onChosen = onChosen;
    this.field = el("input", {
      type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "found", "aria-autocomplete": "list",
      "aria-label": "Search an instrument", placeholder: "Symbol, name or token", autocomplete: "off", spellcheck: "false",
    });
    this.list = el("ul", { id: "found", role: "listbox", "aria-label": "Instruments" });
    this.none = el("p", { class: "muted", role: "status" });
    this.dialog = el("dialog", { class: "search", "aria-label": "Search" }, this.field, this.list, this.none);
    document.body.append(this.dialog);
    this.field.addEventListener("input", () => this.#find());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    document.addEventListener("keydown", (event) => this.#typed(event));
  }

  /** @param {import("./instruments.js").Instrument[]} instruments */
  setInstruments(instruments) {
    this.#instruments = instruments;
  }

  /** Open it, with what has been typed already. */
  open(text = "") {
    this.field.value = text;
    this.#find();
    if (!this.dialog.open) this.dialog.showModal();
    this.field.focus();
  }

  #typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || document.querySelector("dialog[open]")) return;
    if (event.key !== "/" && !/^[a-z0-9&]$/i.test(event.key)) return;
    event.preventDefault();
    this.open(event.key === "/" ? "" : event.key);
  }

  #find() {
    this.#matches = matching(this.#instruments, this.field.value).slice(0, MOST);
    this.none.textContent = this.#matches.length ? "" : `Nothing here is called “${this.field.value}”. SUBSCRIBE_TOKENS says what the feed brings.`;
    this.list.replaceChildren(...this.#matches.map((one, index) => this.#option(one, index)));
    this.#move(0);
  }

  #option(one, index) {
    const made = el(
      "li", { role: "option", id: `found-${index}` },
      el("strong", { text: one.symbol }), el("span", { class: "muted", text: one.name }),
      el("span", { class: "chip", text: one.exchange }),
      ...(one.instrument_class === "index" ? [el("span", { class: "chip", text: "Index" })] : []),
    );
    made.addEventListener("click", () => this.#choose(index));
    return made;
  }

  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) this.#move(this.#at + steps[event.key]);
    else if (event.key === "Enter") this.#choose(this.#at);
    else return;
    event.preventDefault();
  }

  #move(index) {
    this.#at = Math.max(0, Math.min(index, this.#matches.length - 1));
    [...this.list.children].forEach((option, number) => option.setAttribute("aria-selected", String(number === this.#at)));
    this.list.children[this.#at]?.scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", this.#matches.length ? `found-${this.#at}` : "");
  }

  #choose(index) {
    const chosen = this.#matches[index];
    if (!chosen) return;
    this.dialog.close();
    this.#onChosen(chosen);
  }
}
