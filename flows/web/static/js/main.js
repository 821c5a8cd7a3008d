// Starts the page: the frame, the worker's status, and the page that the address names. A new page is one line in PAGES.

import { json } from "./api.js";
import { el } from "./dom.js";
import { Header } from "./header.js";
import { askForToken } from "./login.js";
import { Notice } from "./notice.js";
import { address, here, rewrite } from "./router.js";
import { Sidebar } from "./sidebar.js";
import { WorkerStatus } from "./status.js";
import { TablePage } from "./pages/table.js";
import { WorkersPage } from "./pages/workers.js";

const PAGES = { tables: TablePage, workers: WorkersPage };

const main = document.getElementById("main");
const header = new Header(document.getElementById("header"));
const notice = new Notice(document.getElementById("notice"));
const sidebar = new Sidebar(document.getElementById("sidebar"));
const status = new WorkerStatus();

let tables = null;
let page = null;

function show() {
  const place = here();
  if (!place.page && tables?.length) {
    rewrite(address("tables", [tables[0].name]));
    return;
  }
  sidebar.mark(place.names[0], place.page);
  if (page?.accepts(place)) page.update(place.parameters);
  else open(place);
}

function open(place) {
  page?.close();
  page = null;
  main.replaceChildren();
  if (!tables) return;
  const Page = PAGES[place.page];
  if (Page) page = new Page(main, place, { tables, notice, status });
  else if (place.page) main.append(message("There is no such page", "Choose a table from the list."));
  else main.append(message("No tables yet", "Tables that the flow module declares are listed here."));
}

function message(title, words) {
  return el("div", { class: "message" }, el("h1", {}, title), el("p", {}, words));
}

async function loadTables() {
  let found;
  try {
    found = await json("/api/tables");
  } catch {
    // The status says what is wrong, and the tables are asked for again when it is over.
    return;
  }
  // Who holds them changes with the workers, and is told with each status.
  found = found.map(({ holders: _holders, ...table }) => table);
  if (JSON.stringify(found) === JSON.stringify(tables)) return;
  tables = found;
  sidebar.show(tables, here().names[0], here().page);
  page?.close();
  page = null;
  show();
}

status.addEventListener("status", (event) => {
  header.show(event.detail);
  sidebar.count(event.detail);
  if (!tables) loadTables();
});
status.addEventListener("lost", (event) => {
  if (event.detail.status === 401) {
    header.state("lost", "Locked");
    askForToken(() => status.hurry());
    return;
  }
  header.state("lost", "Disconnected");
  notice.warn(`Connection lost: ${event.detail.message}. Trying again…`);
});
status.addEventListener("back", () => {
  notice.tell("Connected again.");
  page?.retry();
});
status.addEventListener("restarted", async () => {
  notice.tell("The worker was restarted; connected again.");
  await loadTables();
  page?.retry();
});

window.addEventListener("hashchange", () => {
  // The skip link is no place to go to.
  if (location.hash === "#main") history.replaceState(null, "", page ? page.address() : "#/");
  else show();
});

status.start();
