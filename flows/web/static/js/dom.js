// Elements by plain calls. Text only ever becomes a text node: there is no way to hand in markup.

/** Make an element: `on…` attributes are listeners, true is an empty attribute, null and false leave one out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
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
