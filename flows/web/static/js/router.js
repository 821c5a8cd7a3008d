// Where we are, from the address: `#/tables/NAME?window=…` is page "tables" with one name and parameters.

/** Read the address: `{page, names, parameters}`. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...names] = path.split("/").map(decoded);
  return { page, names, parameters: new URLSearchParams(query) };
}

/** The address of a page, for links. */
export function address(page, names, parameters = {}) {
  const given = Object.entries(parameters).filter(([, item]) => item !== "" && item !== null && item !== undefined);
  const query = new URLSearchParams(given).toString();
  return `#/${[page, ...names].map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

/** Change the address in place, without a step in the browser's history. */
export function rewrite(target) {
  history.replaceState(null, "", target);
  window.dispatchEvent(new Event("hashchange"));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
