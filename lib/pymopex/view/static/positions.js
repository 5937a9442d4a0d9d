// A list of positions made by clicking, for the pipelines that fit at given positions.

import { byId, get, make, post, tell, tried } from "./api.js";
import { redraw, toScreen, view } from "./image.js";
import { useAsInput } from "./flow.js";

const positions = []; // ra, dec, and x, y on the grid they were clicked on

export const addPosition = tried(async (x, y) => {
  const { ra, dec } = await get("point", { name: view.image.name, x, y });
  if (ra === null) { tell("This image has no sky coordinates.", true); return; }
  positions.push({ ra, dec, x, y, grid: view.image.grid });
  show();
});

function show() {
  byId("position-rows").replaceChildren(...positions.map((one, n) => make("tr", {}, make("td", {}, one.ra.toFixed(6)), make("td", {}, one.dec.toFixed(6)),
    make("td", {}, make("button", { title: "take out", onclick: () => { positions.splice(n, 1); show(); } }, "×")))));
  redraw();
}

export function drawPositions(context) {
  context.strokeStyle = "#7dff8a";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const one of positions) {
    if (one.grid !== view.image.grid) continue;
    const [left, top] = toScreen(one.x, one.y);
    context.moveTo(left - 7, top - 7);
    context.lineTo(left + 7, top + 7);
    context.moveTo(left - 7, top + 7);
    context.lineTo(left + 7, top - 7);
  }
  context.stroke();
}

const save = tried(async () => {
  if (!positions.length) throw new Error("The list is empty: mark positions on the image first.");
  const found = await post("user_list", { name: byId("position-name").value.trim(), positions: positions.map((one) => [one.ra, one.dec]) });
  tell(`${found.shown}: ${positions.length} positions`);
  document.dispatchEvent(new Event("made"));
  return found;
});

export function setUpPositions() {
  byId("position-form").addEventListener("submit", (event) => { event.preventDefault(); save(); });
  byId("position-use").addEventListener("click", async () => { const found = await save(); if (found) await useAsInput("u", found.shown); });
}
