// What lies on top of an image: sources of tables, and outlines of frames.

import { byId, get, make, tell } from "./api.js";
import { redraw, toScreen, view } from "./image.js";

const COLOURS = ["#5ad1ff", "#ff9f5a", "#9be37a", "#ff7ad9", "#ffe45a"];
const FAILED = "#ff5a5a";
const MANY = 4000; // sources in view
const overlays = []; // name, where, colour, shown, places, for
let frames = null, chosen = null;

// Put a table on top of the images; its rows may be fewer than before.
export async function overlay(name, where) {
  let found = overlays.find((one) => one.name === name);
  if (!found) {
    found = { name, where, colour: COLOURS[overlays.length % COLOURS.length], shown: true, places: null, for: "" };
    overlays.push(found);
  }
  if (found.where !== where) Object.assign(found, { where, for: "" });
  list();
  await loadOverlays();
}

export async function loadOverlays() {
  const { image } = view;
  if (!image) return;
  for (const one of overlays.filter((other) => other.shown && other.for !== image.grid)) {
    one.for = image.grid;
    try { one.places = await get("places", { name: one.name, image: image.name, where: one.where }); }
    catch (problem) { one.places = null; tell(problem.message, true); }
  }
  if (byId("frames").checked && (!frames || frames.for !== image.grid)) {
    frames = { for: image.grid, frames: [] };
    try { Object.assign(frames, await get("footprints", { image: image.name })); }
    catch (problem) { tell(problem.message, true); byId("frames").checked = false; }
  }
  redraw();
}

// Read the places of a table that has changed again.
export function forget() {
  for (const one of overlays) one.for = "";
  frames = null;
  loadOverlays();
}

function list() {
  const short = (name) => name.split("/").pop();
  byId("overlays").replaceChildren(...overlays.map((one) => make("label", { title: one.name, style: `border-bottom: 2px solid ${one.colour}; margin-right: .7rem` },
    make("input", { type: "checkbox", checked: one.shown, onchange: (event) => { one.shown = event.target.checked; loadOverlays(); redraw(); } }), short(one.name))));
}

export function setChosen(name, row) {
  chosen = name === null ? null : { name, row };
  redraw();
}

// Where a row of a table is on the image, in FITS pixels.
export function placeOf(name, row) {
  const found = overlays.find((one) => one.name === name);
  const at = found && found.places ? found.places.index.indexOf(row) : -1;
  return at < 0 || found.places.x[at] === null ? null : [found.places.x[at], found.places.y[at]];
}

export function nearest(left, top) {
  let best = { far: 14, name: null };
  for (const one of overlays) {
    if (!one.shown || !one.places) continue;
    for (let n = 0; n < one.places.x.length; n++) {
      if (one.places.x[n] === null) continue;
      const [x, y] = toScreen(one.places.x[n], one.places.y[n]);
      const far = Math.hypot(x - left, y - top);
      if (far < best.far) best = { far, name: one.name, row: one.places.index[n] };
    }
  }
  return best.name === null ? null : best;
}

export function drawOverlays(context, width, height) {
  if (byId("frames").checked && frames) drawFrames(context);
  for (const one of overlays) if (one.shown && one.places) drawPlaces(context, one, width, height);
  const place = chosen && placeOf(chosen.name, chosen.row);
  if (place) cross(context, ...toScreen(...place));
}

// Circles round the sources that are in view; dots where they are too many to be told apart.
function drawPlaces(context, one, width, height) {
  const { x, y, status } = one.places, { scale } = view;
  const seen = [[], []];
  for (let n = 0; n < x.length; n++) {
    if (x[n] === null) continue;
    const left = (x[n] - view.x) * scale + width / 2, top = height / 2 - (y[n] - view.y) * scale;
    if (left > -20 && top > -20 && left < width + 20 && top < height + 20) seen[status[n] > 0 ? 0 : 1].push(left, top);
  }
  const many = seen[0].length + seen[1].length > 2 * MANY;
  const radius = Math.min(14, Math.max(3, 3.2 * scale));
  seen.forEach((list, failed) => {
    context.strokeStyle = context.fillStyle = failed ? FAILED : one.colour;
    context.lineWidth = 1.2;
    context.beginPath();
    for (let n = 0; n < list.length; n += 2) {
      if (many) { context.fillRect(Math.round(list[n]) - 1, Math.round(list[n + 1]) - 1, 2, 2); continue; }
      context.moveTo(list[n] + radius, list[n + 1]);
      context.arc(list[n], list[n + 1], radius, 0, 2 * Math.PI);
    }
    context.stroke();
  });
}

function cross(context, left, top) {
  context.strokeStyle = "#ffd27a";
  context.lineWidth = 2;
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(left + 9 * dx, top + 9 * dy);
    context.lineTo(left + 26 * dx, top + 26 * dy);
  }
  context.stroke();
}

function drawFrames(context) {
  context.strokeStyle = "#7fc8ff99";
  context.lineWidth = 1;
  context.beginPath();
  for (const frame of frames.frames) {
    frame.x.forEach((x, n) => { const at = toScreen(x, frame.y[n]); if (n) context.lineTo(...at); else context.moveTo(...at); });
    context.closePath();
  }
  context.stroke();
}

// How many frames hold a pixel, in words for the read-out; the name of one that is alone.
export function framesAt(x, y) {
  if (!byId("frames").checked || !frames) return "";
  const inside = frames.frames.filter((frame) => {
    let odd = false;
    for (let n = 0, m = frame.x.length - 1; n < frame.x.length; m = n++) {
      if ((frame.y[n] > y) !== (frame.y[m] > y) && x < (frame.x[m] - frame.x[n]) * (y - frame.y[n]) / (frame.y[m] - frame.y[n]) + frame.x[n]) odd = !odd;
    }
    return odd;
  });
  return `   ${inside.length === 1 ? inside[0].file : `${inside.length} frames`}`;
}

export function setUpOverlays() {
  byId("frames").addEventListener("change", () => { loadOverlays(); redraw(); });
}
