// Asks for the token of a worker that wants one; kept for this tab only.

import { setToken } from "./api.js";
import { el } from "./dom.js";

let open = false;

/** Ask for the token, once at a time; calls `done` when there is one to try. */
export function askForToken(done) {
  if (open) return;
  open = true;
  const field = el("input", { class: "field", type: "password", id: "token", autocomplete: "off", required: true });
  const enter = (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    dialog.close();
    done();
  };
  const dialog = el(
    "dialog",
    { "aria-labelledby": "token-title", onclose: () => leave(dialog) },
    el(
      "form",
      { onsubmit: enter },
      el("h2", { id: "token-title" }, "This worker asks for its token"),
      el("label", { for: "token", class: "quiet" }, "The one it was started with: FLOWS_WEB_TOKEN, or the content of --web-token-file."),
      field,
      el("button", { class: "field primary" }, "Open"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

function leave(dialog) {
  open = false;
  dialog.remove();
}
