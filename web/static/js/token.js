// The dialog that asks for the token of the gateway.

import { beginSession, tokenFrom } from "./api.js";
import { el } from "./dom.js";

/** Let requests that are refused ask for the token. */
export function askWhenRefused() {
  tokenFrom(ask);
}

function ask() {
  const field = el("input", { type: "password", name: "token", autocomplete: "current-password", required: true, id: "token" });
  const problem = el("p", { class: "problem", role: "alert" });
  const form = el(
    "form",
    {},
    el("h2", { id: "token-title", text: "Token" }),
    el("p", { text: "The gateway wants its token for this. `topology gateway token` shows it. This browser keeps it for 30 days." }),
    el("label", { for: "token", text: "Token" }),
    field,
    problem,
    el("div", { class: "row" }, el("button", { class: "primary", text: "Go on" }), el("button", { type: "button", value: "no", text: "Cancel" })),
  );
  const dialog = el("dialog", { "aria-labelledby": "token-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    const finish = (let_in) => {
      dialog.remove();
      done(let_in);
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await beginSession(field.value);
        finish(true);
      } catch (error) {
        problem.textContent = error.message;
        field.select();
      }
    });
    form.querySelector("[value=no]").addEventListener("click", () => finish(false));
    dialog.addEventListener("cancel", () => finish(false));
  });
}
