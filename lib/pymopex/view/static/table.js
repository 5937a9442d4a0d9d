// A table in pages, filtered and sorted by the server, tied to its sources on the image.

import { byId, get, make, showTab, tried } from "./api.js";
import { overlay, placeOf, setChosen } from "./overlay.js";
import { goTo, view } from "./image.js";
import { showSource } from "./source.js";

const state = { name: "", where: "", sort: "", down: "0", start: 0, row: null, found: null };
let looked = 0;

export const openTable = tried(async (name) => {
  if (state.name !== name) Object.assign(state, { name, where: "", sort: "", down: "0", start: 0, row: null });
  byId("where").value = state.where;
  showTab("bottom", "table");
  await load();
  if (state.found.places) await overlay(name, state.where);
});

async function load(at = null) {
  const { name, where, sort, down, start } = state;
  const mine = ++looked;
  const words = { name, where, sort, down, start };
  if (at !== null) words.at = at;
  try {
    const found = await get("table", words);
    if (mine !== looked) return false;
    Object.assign(state, { found, start: found.start });
    byId("where").className = "";
    byId("table-note").className = "quiet";
    byId("table-note").textContent = where ? `${found.matched} of ${found.total} rows` : `${found.total} rows`;
  } catch (problem) {
    byId("where").className = "bad";
    byId("table-note").className = "bad";
    byId("table-note").textContent = problem.message;
    return false;
  }
  fill();
  return true;
}

function fill() {
  const { found } = state;
  byId("table-name").textContent = found.name;
  const last = Math.min(found.start + found.page, found.matched);
  byId("table-range").textContent = found.matched ? `${found.start + 1}–${last}` : "none";
  byId("earlier").disabled = found.start === 0;
  byId("later").disabled = last >= found.matched;
  const arrow = (name) => (name === state.sort ? (state.down === "1" ? " ▼" : " ▲") : "");
  const heads = found.columns.map((column) => make("th", { title: column.meaning, onclick: () => sortBy(column.name) },
    column.name + arrow(column.name), make("small", {}, column.unit || " ")));
  document.querySelector("#rows thead").replaceChildren(make("tr", {}, ...heads));
  const rows = found.rows.map((cells, n) => {
    const row = make("tr", { class: found.index[n] === state.row ? "chosen" : "", onclick: () => choose(found.name, found.index[n], true) }, ...cells.map((cell) => make("td", {}, cell)));
    row.dataset.row = found.index[n];
    return row;
  });
  document.querySelector("#rows tbody").replaceChildren(...rows);
  const chosen = document.querySelector("#rows tr.chosen");
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
}

const sortBy = tried(async (name) => {
  const again = state.sort === name;
  Object.assign(state, { sort: name, down: again && state.down === "0" ? "1" : "0", start: 0 });
  await load();
});

// Choose a row: from the table the image goes there, from the image the table does.
export const choose = tried(async (name, row, move) => {
  if (state.name !== name) await openTable(name);
  state.row = row;
  showTab("bottom", "table");
  await load(move ? null : row);
  setChosen(name, row);
  const place = placeOf(name, row);
  if (move && place && view.image) goTo(...place);
  await showSource(name, row);
});

// Read the table again after a run.
export const refreshTable = tried(async (products) => {
  if (state.name && products.some((one) => one.name === state.name)) await load();
});

export function setUpTable() {
  let waiting = 0;
  byId("where").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(tried(async () => {
      Object.assign(state, { where: byId("where").value.trim(), start: 0 });
      if (state.name && await load() && state.found.places) await overlay(state.name, state.where);
    }), 300);
  });
  const turn = (by) => tried(async () => { state.start = Math.max(0, state.start + by * state.found.page); await load(); });
  byId("earlier").addEventListener("click", turn(-1));
  byId("later").addEventListener("click", turn(1));
}
