// Short messages in a corner: what has just happened. They are read out, and go by themselves.

import { byId, el } from "./dom.js";
import { clock, duration } from "./format.js";

const SHOWN_MS = 8_000;
const MOST = 4;

/** What people are told of; the rest is in the logs. */
const KINDS = {
  gap: ["warn", "Gap in the feed"],
  stale: ["warn", "Feed is silent"],
  disconnected: ["warn", "Feed disconnected"],
  login_failed: ["bad", "Login at the broker failed"],
  doubt: ["warn", "Ticks may be missing"],
  rejected: ["warn", "The broker rejects a subscription"],
  resumed: ["good", "Feed is back"],
  stopped: ["plain", "Feed stopped"],
};

/**
 * @param {string} title
 * @param {string} detail
 * @param {"good"|"warn"|"bad"|"plain"} tone
 */
export function toast(title, detail = "", tone = "plain") {
  const region = byId("toasts");
  const close = el("button", { class: "quiet", "aria-label": "Close this message", text: "×" });
  const made = el("div", { class: `toast ${tone}` }, el("div", {}, el("strong", { text: title }), el("p", { text: detail })), close);
  close.addEventListener("click", () => made.remove());
  region.append(made);
  while (region.children.length > MOST) region.firstElementChild.remove();
  setTimeout(() => made.remove(), SHOWN_MS);
}

/** Say why something could not be done. */
export function toastError(title, error) {
  toast(title, error.message ?? error.detail ?? String(error), "bad");
}

function described({ at_ms: atMs, from_ms: fromMs, to_ms: toMs, instruments = 0, detail = "" }) {
  const parts = [];
  if (fromMs) {
    const length = toMs ? `, ${duration(toMs - fromMs)} long` : ", still open";
    parts.push(`since ${clock(fromMs / 1000)} IST${length}`);
  } else if (atMs) parts.push(`at ${clock(atMs / 1000)} IST`);
  if (instruments) parts.push(instruments === 1 ? "1 instrument" : `${instruments} instruments`);
  if (detail) parts.push(detail);
  return parts.join(" · ");
}

/** Show what happens to the feed. A connection that is lost while another one carries on is nobody's trouble. */
export function toastEvents(socket) {
  socket.on("event", (event) => {
    const [tone, title] = KINDS[event.kind] ?? [];
    const carried = ["stale", "disconnected"].includes(event.kind) && event.instruments > 0;
    if (title && !carried) toast(title, described(event), tone);
  });
}
