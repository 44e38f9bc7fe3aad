/** Elements, without strings that become markup: whatever text comes from a switch or a buyer stays text. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/**
 * An HTML element. `onclick` and the like are listeners; attributes that are undefined or false are left out.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | undefined | unknown[])} children
 * @returns {HTMLElement}
 */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same in a picture. @returns {SVGElement} */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no ${id}`);
  return element;
}

/**
 * Shows other children, unless they look the same, and keeps the focus on whatever has the same `data-key` as what had it.
 * @param {Element} parent
 * @param {...(Node | string | undefined)} children
 */
export function show(parent, ...children) {
  const next = document.createElement(parent.tagName);
  next.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  // What is selected or being read stays.
  if (next.innerHTML === parent.innerHTML) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement.closest("[data-key]") : null;
  parent.replaceChildren(...next.childNodes);
  if (focused) {
    const key = CSS.escape(focused.getAttribute("data-key"));
    parent.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: true });
  }
}

/**
 * A table whose numbers line up. A column is a title, and `number` for those that do.
 * @param {string} caption for those who do not see it
 * @param {{ title: string, number?: boolean }[]} columns
 * @param {(Node | string)[][]} rows
 */
export function table(caption, columns, rows) {
  const kind = (column) => (column.number ? "number" : undefined);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, n) => h("td", { class: kind(columns[n]) }, cell)))))));
}

/** What is said where there is nothing, and what to do about it. @param {...(Node | string)} words */
export const empty = (...words) => h("p", { class: "empty" }, ...words);
