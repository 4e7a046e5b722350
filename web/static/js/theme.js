// Dark and light: the system's, until somebody chooses. The choice is kept in this browser.

const listeners = new Set();
const system = matchMedia("(prefers-color-scheme: dark)");
const probe = document.createElement("span");

/** @returns {boolean} whether the page is dark now */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

/** Change to the other theme, and keep the choice. */
export function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  notify();
}

/**
 * @param {() => void} listener called after each change of the theme
 */
export function onTheme(listener) {
  listeners.add(listener);
}

/**
 * @param {string} name a custom property of the style sheet, such as `--up`
 * @returns {string} the colour that it has in this theme, as `rgb(...)`
 */
export function colour(name) {
  if (!probe.isConnected) {
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function notify() {
  for (const listener of listeners) listener();
}

system.addEventListener("change", notify);
