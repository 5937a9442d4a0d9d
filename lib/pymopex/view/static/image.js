// The image: tiles on a canvas, with pan, zoom, stretch, limits, colours, blink, and what lies on top.

import { byId, get, make, tell, tried, showTab } from "./api.js";
import { paint, table } from "./colour.js";
import { find, need, onTile, pending } from "./tiles.js";
import { drawOverlays, nearest, loadOverlays, framesAt } from "./overlay.js";
import { choose } from "./table.js";
import { addPosition, drawPositions } from "./positions.js";

export const view = { image: null, images: [], x: 0, y: 0, scale: 1 }; // middle in FITS pixels; screen pixels for one of the image
const canvas = byId("canvas");
const context = canvas.getContext("2d");
const style = { stretch: "asinh", map: "gray", lut: null, maps: null };
let due = false, fitted = true, blinking = 0; // fitted: the whole image is shown, also in a window of another size

export function redraw() {
  if (!due) { due = true; requestAnimationFrame(draw); }
}

export function toScreen(x, y) {
  return [(x - view.x) * view.scale + canvas.clientWidth / 2, canvas.clientHeight / 2 - (y - view.y) * view.scale];
}

export function toImage(left, top) {
  return [view.x + (left - canvas.clientWidth / 2) / view.scale, view.y - (top - canvas.clientHeight / 2) / view.scale];
}

async function described(product) {
  const found = await get("image", { name: product });
  found.key = `${product}|${Date.now()}`;
  found.low = found.facts.low;
  found.high = found.facts.high;
  return found;
}

export const open = tried(async (name) => {
  showTab("centre", "image");
  const known = view.images.find((one) => one.name === name);
  if (known) return show(known);
  if (!style.maps) {
    style.maps = await get("colours");
    byId("map").replaceChildren(...Object.keys(style.maps).map((map) => make("option", {}, map)));
    style.lut = table(style.maps[style.map], style.stretch);
  }
  const image = await described(name);
  const like = view.images.find((one) => one.unit && one.unit === image.unit);
  if (like && byId("same").checked) [image.low, image.high] = [like.low, like.high];
  image.blink = true;
  view.images.push(image);
  return show(image);
});

// Open images whose files have changed again; those that are gone are closed.
export async function refresh(products) {
  const times = new Map(products.map((one) => [one.name, one.time]));
  for (const image of [...view.images]) {
    if (!times.has(image.name)) { close(image); continue; }
    if (image.time !== undefined && image.time !== times.get(image.name)) {
      Object.assign(image, await described(image.name), { low: image.low, high: image.high });
      if (view.image === image) { loadOverlays(); redraw(); }
    }
    image.time = times.get(image.name);
  }
}

async function show(image) {
  const before = view.image;
  view.image = image;
  byId("hint").hidden = true;
  byId("header").textContent = image.header;
  if (!before) fit();
  else if (before.grid !== image.grid) await follow(before, image);
  listSlots();
  showLimits();
  loadOverlays();
  redraw();
}

// Keep the middle of the view where it is on the sky, as the grid changes.
async function follow(before, image) {
  if (!before.sky || !image.sky) { fit(); return; }
  const { ra, dec } = await get("point", { name: before.name, x: view.x, y: view.y });
  const place = ra === null ? { x: null } : await get("pixel", { name: image.name, ra, dec });
  if (place.x === null) { fit(); return; }
  view.scale *= image.scale / before.scale;
  [view.x, view.y] = [place.x, place.y];
}

function close(image) {
  view.images = view.images.filter((one) => one !== image);
  if (view.image !== image) { listSlots(); return; }
  view.image = null;
  if (view.images.length) show(view.images[0]);
  else { byId("hint").hidden = false; listSlots(); redraw(); }
}

function listSlots() {
  byId("slots").replaceChildren(...view.images.map((image) => make("span",
    { class: `slot${image === view.image ? " on" : ""}`, title: image.name, onclick: () => show(image) },
    make("input", { type: "checkbox", checked: image.blink, title: "take part in blinking", onclick: (event) => { event.stopPropagation(); image.blink = event.target.checked; } }),
    image.name,
    make("button", { title: "close", onclick: (event) => { event.stopPropagation(); close(image); } }, "×"))));
}

export function fit() {
  const { image } = view;
  if (!image) return;
  fitted = true;
  view.x = (image.width + 1) / 2;
  view.y = (image.height + 1) / 2;
  view.scale = Math.max(1e-4, Math.min(canvas.clientWidth / image.width, canvas.clientHeight / image.height) * 0.98);
  redraw();
}

// Move to a place in FITS pixels, at a scale that shows single pixels.
export function goTo(x, y) {
  fitted = false;
  view.x = x;
  view.y = y;
  view.scale = Math.max(view.scale, 8);
  showTab("centre", "image");
  redraw();
}

function zoom(factor, left = canvas.clientWidth / 2, top = canvas.clientHeight / 2) {
  const [x, y] = toImage(left, top);
  fitted = false;
  view.scale = Math.min(200, Math.max(0.005, view.scale * factor));
  const [nowX, nowY] = toImage(left, top);
  view.x += x - nowX;
  view.y += y - nowY;
  redraw();
}

function pan(dx, dy) {
  fitted = false;
  view.x += dx / view.scale;
  view.y += dy / view.scale;
  redraw();
}

function draw() {
  due = false;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  if (view.image) {
    const shown = view.images.filter((one) => one === view.image || (blinking && one.blink && one.grid === view.image.grid));
    need(shown.flatMap((image) => drawTiles(image, width, height, ratio, image === view.image)));
    drawOverlays(context, width, height);
    drawPositions(context);
    compass(width, height);
  }
  Object.assign(canvas.dataset, { name: view.image ? view.image.name : "", x: view.x, y: view.y, scale: view.scale, pending: pending() });
}

// Draw the tiles of a view; gives those that are needed, the first of all the one that shows the whole image.
function drawTiles(image, width, height, ratio, visible) {
  const level = Math.max(0, Math.min(image.levels - 1, Math.floor(Math.log2(1 / (view.scale * ratio)) + 0.3)));
  const step = image.side * 2 ** level;
  const [left, top] = toImage(0, 0), [right, bottom] = toImage(width, height);
  const last = (pixels) => Math.ceil(pixels / step) - 1;
  const range = (low, high, pixels) => [Math.max(0, Math.floor((low - 0.5) / step)), Math.min(last(pixels), Math.floor((high - 0.5) / step))];
  const [c0, c1] = range(left, right, image.width), [l0, l1] = range(bottom, top, image.height);
  const list = [{ image, level: image.levels - 1, column: 0, line: 0, far: -1 }];
  context.imageSmoothingEnabled = view.scale * 2 ** level < 1;
  for (let line = l0; line <= l1; line++) {
    for (let column = c0; column <= c1; column++) {
      const far = Math.hypot((column + 0.5) * step - view.x, (line + 0.5) * step - view.y) + (visible ? 0 : 1e6);
      list.push({ image, level, column, line, far });
      if (visible) drawTile(image, level, column, line);
    }
  }
  return list;
}

// Draw a tile, or what a coarser one knows of it.
function drawTile(image, level, column, line) {
  for (let up = 0; level + up < image.levels; up++) {
    const tile = find(image, level + up, column >> up, line >> up);
    if (!tile) continue;
    const now = `${image.low}|${image.high}|${style.map}|${style.stretch}`;
    if (tile.painted !== now) {
      tile.canvas = tile.canvas || document.createElement("canvas");
      paint(tile.canvas, tile.values, tile.width, tile.height, image.low, image.high, style.lut);
      tile.painted = now;
    }
    const part = image.side / 2 ** up;
    const from = [(column - ((column >> up) << up)) * part, (line - ((line >> up) << up)) * part];
    const w = Math.min(part, tile.width - from[0]), h = Math.min(part, tile.height - from[1]);
    if (w <= 0 || h <= 0) return;
    const pixel = 2 ** (level + up);
    const x0 = column * image.side * 2 ** level + 0.5, y0 = line * image.side * 2 ** level + 0.5;
    const [a, b] = toScreen(x0, y0 + h * pixel).map(Math.round), [c, d] = toScreen(x0 + w * pixel, y0).map(Math.round);
    context.drawImage(tile.canvas, from[0], tile.height - from[1] - h, w, h, a, b, c - a, d - b);
    return;
  }
}

// An arrow to the north and a bar of a round length.
function compass(width, height) {
  const { image } = view;
  if (!image.sky) return;
  const turn = image.north * Math.PI / 180, x = 34, y = height - 34;
  context.save();
  context.strokeStyle = context.fillStyle = "#ffd27a";
  context.lineWidth = 1.5;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const [dx, dy] = [-Math.sin(turn), -Math.cos(turn)];
  const label = (text, at, line) => {
    context.save();
    context.strokeStyle = "#16202e";
    context.lineWidth = 3;
    context.strokeText(text, at, line);
    context.restore();
    context.fillText(text, at, line);
  };
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + 20 * dx, y + 20 * dy);
  context.stroke();
  label("N", x + 28 * dx, y + 28 * dy);
  const rounds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
  const length = rounds.findLast((arcsec) => arcsec / image.scale * view.scale < 140) || rounds[0];
  const long = length / image.scale * view.scale;
  context.beginPath();
  context.moveTo(72, height - 20);
  context.lineTo(72 + long, height - 20);
  context.stroke();
  label(length >= 60 ? `${length / 60}′` : `${length}″`, 72 + long / 2, height - 30);
  context.restore();
}

let asking = false, last = null;
async function readOut(left, top) {
  last = [left, top];
  if (asking || !view.image) return;
  asking = true;
  while (last) {
    const [x, y] = toImage(...last), { image } = view;
    last = null;
    try {
      const found = await get("point", { name: image.name, x, y });
      const value = found.value === null ? "no data" : `${Number(found.value.toPrecision(6))} ${image.unit}`;
      const sky = found.ra === null ? "" : `   ${found.text}   ${found.ra.toFixed(6)} ${found.dec.toFixed(6)} deg`;
      byId("readout").textContent = `x ${x.toFixed(2)}  y ${y.toFixed(2)}   ${value}${sky}${framesAt(x, y)}`;
      Object.assign(byId("readout").dataset, { x, y, ra: found.ra, dec: found.dec, value: found.value });
    } catch (problem) { byId("readout").textContent = problem.message; }
  }
  asking = false;
}

function setLimits(low, high) {
  const { image } = view;
  if (!image) return;
  if (!(high > low)) { tell("The second limit must be above the first.", true); showLimits(); return; }
  const together = byId("same").checked && image.unit ? view.images.filter((one) => one.unit === image.unit) : [image];
  for (const one of together) [one.low, one.high] = [low, high];
  showLimits();
  redraw();
}

function showLimits() {
  byId("low").value = Number(view.image.low.toPrecision(5));
  byId("high").value = Number(view.image.high.toPrecision(5));
}

function setStyle(what, value) {
  style[what] = value;
  if (style.maps) style.lut = table(style.maps[style.map], style.stretch);
  redraw();
}

function blink() {
  clearInterval(blinking);
  blinking = 0;
  if (!byId("blink").checked) return;
  blinking = setInterval(() => {
    const some = view.images.filter((one) => one.blink);
    if (some.length > 1) show(some[(some.indexOf(view.image) + 1) % some.length]);
  }, 700);
  redraw();
}

function click(left, top) {
  const [x, y] = toImage(left, top);
  if (byId("mark").checked) { addPosition(x, y); return; }
  const found = nearest(left, top);
  if (found) choose(found.name, found.row, false);
}

function setUpPointer() {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    from = { left: event.offsetX, top: event.offsetY, x: view.x, y: view.y, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    readOut(event.offsetX, event.offsetY);
    if (!from) return;
    const [dx, dy] = [event.offsetX - from.left, event.offsetY - from.top];
    if (Math.hypot(dx, dy) > 3) from.moved = true;
    if (!from.moved) return;
    fitted = false;
    view.x = from.x - dx / view.scale;
    view.y = from.y + dy / view.scale;
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (from && !from.moved && view.image) click(event.offsetX, event.offsetY);
    from = null;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 120) / 400), event.offsetX, event.offsetY);
  }, { passive: false });
}

const KEYS = {
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: fit, 1: () => zoom(1 / view.scale),
  b: () => { byId("blink").checked = !byId("blink").checked; blink(); },
  ArrowLeft: () => pan(-60, 0), ArrowRight: () => pan(60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
};

export function setUpImage() {
  onTile(redraw);
  setUpPointer();
  canvas.addEventListener("keydown", (event) => { if (KEYS[event.key] && view.image && !event.ctrlKey) { event.preventDefault(); KEYS[event.key](); } });
  new ResizeObserver(() => (fitted ? fit() : redraw())).observe(canvas);
  byId("stretch").addEventListener("change", (event) => setStyle("stretch", event.target.value));
  byId("map").addEventListener("change", (event) => setStyle("map", event.target.value));
  for (const id of ["low", "high"]) byId(id).addEventListener("change", () => setLimits(Number(byId("low").value), Number(byId("high").value)));
  byId("auto").addEventListener("click", () => view.image && setLimits(view.image.facts.low, view.image.facts.high));
  byId("full").addEventListener("click", () => view.image && setLimits(view.image.facts.min, view.image.facts.max));
  byId("zoom-in").addEventListener("click", () => zoom(1.5));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  byId("zoom-one").addEventListener("click", () => zoom(1 / view.scale));
  byId("zoom-fit").addEventListener("click", fit);
  byId("blink").addEventListener("change", blink);
  byId("header-button").addEventListener("click", () => { byId("header").hidden = !byId("header").hidden; });
}
