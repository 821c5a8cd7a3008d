// Elements by plain calls. Text only ever becomes a text node: there is no way to hand in markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `on…` attributes are listeners, true is an empty attribute, null and false leave one out. */
export function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing, likewise. */
export function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set, or with null or false take away, an attribute; touches the document only when it differs. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

/** Set an element's text when it differs. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make `list` have one child for each item, made by `make()` and filled by `fill(child, item)`; children stay. */
export function fit(list, items, make, fill) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  while (list.children.length < items.length) list.append(make());
  items.forEach((item, at) => fill(list.children[at], item));
}
