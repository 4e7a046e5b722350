// Elements, made without markup: what comes from outside is only ever text.

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag such as `button`
 * @param {object} [attributes] of the element; functions are listeners (`onclick`), `text` is what it says,
 *   `true` sets an attribute without a value, `null`, `undefined` and `false` leave it out
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

/**
 * @template {HTMLElement} [Element=HTMLElement]
 * @param {string} id
 * @param {new () => Element} [type] what it is, such as `HTMLTableElement`
 * @returns {Element} the element of this id; pages and scripts belong together, so it is there
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof (type ?? HTMLElement))) throw new Error(`the page has no such element #${id}`);
  return /** @type {Element} */ (found);
}

/** Change what an element says, if it says something else. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** @returns {SVGElement} an element of SVG */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @returns {boolean} whether a key is meant for the field that has the focus */
export function isTyping(event) {
  return event.target instanceof Element && event.target.closest("input, select, textarea, dialog") !== null;
}
