// Starts the page: the frame, the worker's status, and the page that the address names. A new page is one line in PAGES.

import { json } from "./api.js";
import { el } from "./dom.js";
import { Header } from "./header.js";
import { askForToken } from "./login.js";
import { Notice } from "./notice.js";
import { address, here, rewrite } from "./router.js";
import { Sidebar } from "./sidebar.js";
import { WorkerStatus } from "./status.js";
import { Tabs } from "./tabs.js";
import { OverviewPage } from "./pages/overview.js";
import { SqlPage } from "./pages/sql.js";
import { TablePage } from "./pages/table.js";
import { TopicsPage } from "./pages/topics.js";
import { WorkersPage } from "./pages/workers.js";

const PAGES = { overview: OverviewPage, tables: TablePage, sql: SqlPage, topics: TopicsPage, workers: WorkersPage };

const main = document.getElementById("main");
const header = new Header(document.getElementById("header"));
const tabs = new Tabs(document.getElementById("tabs"));
const notice = new Notice(document.getElementById("notice"));
const sidebar = new Sidebar(document.getElementById("sidebar"));
const status = new WorkerStatus();

let tables = null;
let page = null;

function show() {
  const place = here();
  if (!place.page) {
    rewrite(address("overview", []));
    return;
  }
  if (place.page === "tables" && !place.names[0] && tables?.length) {
    rewrite(address("tables", [tables[0].name]));
    return;
  }
  tabs.mark(place.page);
  if (place.page === "tables") sidebar.show("Tables", (tables ?? []).map(tableItem), place.names[0], "This app keeps no tables.");
  else if (place.page !== "topics") sidebar.hide();
  if (page?.accepts(place)) page.update(place.parameters);
  else open(place);
}

function open(place) {
  page?.close();
  page = null;
  main.replaceChildren();
  main.scrollTop = 0;
  if (!tables) return;
  const Page = PAGES[place.page];
  if (place.page === "tables" && !place.names[0]) main.append(message("No tables yet", "Tables that the flow module declares are listed here."));
  else if (Page) page = new Page(main, place, { tables, notice, status, sidebar });
  else main.append(message("There is no such page", "Choose one above."));
}

function message(title, words) {
  return el("div", { class: "message" }, el("h1", {}, title), el("p", {}, words));
}

function tableItem(table) {
  const kind = table.window ?? (table.kind === "declared" ? "no windows" : table.kind);
  return { name: table.name, kind, href: address("tables", [table.name]) };
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
  page?.close();
  page = null;
  show();
}

status.addEventListener("status", (event) => {
  header.show(event.detail);
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
