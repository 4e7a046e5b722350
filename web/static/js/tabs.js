// On a phone one part of the page is shown at a time; the tabs below choose which.

/** Let the tabs choose. On wide screens all parts are in sight and there are no tabs. */
export function bindTabs(first) {
  const buttons = [.../** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll(".tabs button"))];
  const choose = (name) => {
    document.body.dataset.tab = name;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === name));
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button.value));
  choose(first);
  return choose;
}
