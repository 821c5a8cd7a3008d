// The worker's API: JSON in and out, the token where one is asked for.

const TOKEN = "flows-token";

/** An answer that is no answer: `status` is 0 where the worker could not be reached. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = () => sessionStorage.getItem(TOKEN);
export const setToken = (text) => sessionStorage.setItem(TOKEN, text);

/** Fetch a path of this worker; throws `ApiError` for anything but success, and lets an abort through. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  // A header holds Latin-1 only; a token of other letters cannot be the right one.
  if (token() && /^[\x20-\x7e]*$/.test(token())) headers.set("Authorization", `Bearer ${token()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "the worker does not answer");
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return response;
}

export async function json(path, options) {
  const response = await request(path, options);
  return parse(await response.text());
}

/** Parse JSON; whole numbers that JavaScript would round stay text. */
export function parse(text) {
  return /[0-9]{16}/.test(text) ? JSON.parse(text, exact) : JSON.parse(text);
}

function exact(_name, item, context) {
  const rounded = typeof item === "number" && Number.isInteger(item) && !Number.isSafeInteger(item);
  return rounded && /^-?[0-9]+$/.test(context?.source ?? "") ? context.source : item;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the worker answered ${response.status}`;
  }
}

/** The path of a table's API; empty parameters are left out. */
export function tablePath(name, rest = "", parameters = {}) {
  const given = Object.entries(parameters).filter(([, item]) => item !== "" && item !== null && item !== undefined);
  const query = new URLSearchParams(given).toString();
  return `/api/tables/${encodeURIComponent(name)}${rest}${query ? `?${query}` : ""}`;
}
