// Tiles of images: fetched when they are needed, the nearest to the middle first, and kept while there is room.

const MOST = 400; // tiles kept, 256 kB each
const AT_ONCE = 6;

const kept = new Map();
let wanted = [];
let underway = 0;
let changed = () => {};

export function onTile(call) { changed = call; }
export function pending() { return underway + wanted.length; }

export function keyOf(image, level, column, line) { return `${image.key}|${level}|${column}|${line}`; }

export function find(image, level, column, line) {
  const key = keyOf(image, level, column, line);
  const tile = kept.get(key);
  if (tile && tile.values) { kept.delete(key); kept.set(key, tile); return tile; }
  return null;
}

// Say which tiles are needed now; what was wanted before and has not begun is forgotten.
export function need(list) {
  wanted = list.filter((one) => !kept.has(keyOf(one.image, one.level, one.column, one.line)));
  wanted.sort((a, b) => a.far - b.far);
  while (underway < AT_ONCE && wanted.length) fetchOne(wanted.shift());
}

async function fetchOne({ image, level, column, line }) {
  const key = keyOf(image, level, column, line);
  if (kept.has(key)) return;
  const tile = { values: null, width: 0, height: 0, canvas: null, painted: "" };
  kept.set(key, tile);
  underway++;
  try {
    const words = new URLSearchParams({ name: image.name, level, column, line });
    const response = await fetch(`tile?${words}`);
    if (!response.ok) throw new Error(response.statusText);
    const values = new Float32Array(await response.arrayBuffer());
    tile.width = Math.min(image.side, Math.ceil(image.width / 2 ** level) - column * image.side);
    tile.height = values.length / tile.width;
    tile.values = values;
    tile.painted = "";
  } catch { /* it stays empty, and is not asked for again before its file changes */ }
  underway--;
  if (kept.size > MOST) for (const old of kept.keys()) { if (kept.size <= MOST) break; kept.delete(old); }
  changed();
  while (underway < AT_ONCE && wanted.length) fetchOne(wanted.shift());
}

// Values of a square at full size round a pixel (from 1): for stamps.
export async function cut(image, x, y, half) {
  const side = 2 * half + 1;
  const found = new Float32Array(side * side).fill(NaN);
  const left = Math.round(x) - 1 - half, bottom = Math.round(y) - 1 - half;
  const places = new Set();
  for (const column of [left, left + side - 1]) for (const line of [bottom, bottom + side - 1]) places.add(`${Math.floor(column / image.side)},${Math.floor(line / image.side)}`);
  for (const place of places) {
    const [column, line] = place.split(",").map(Number);
    if (column < 0 || line < 0 || column * image.side >= image.width || line * image.side >= image.height) continue;
    const words = new URLSearchParams({ name: image.name, level: 0, column, line });
    const values = new Float32Array(await (await fetch(`tile?${words}`)).arrayBuffer());
    const width = Math.min(image.side, image.width - column * image.side);
    for (let n = 0; n < values.length; n++) {
      const i = column * image.side + (n % width) - left, j = line * image.side + Math.floor(n / width) - bottom;
      if (i >= 0 && i < side && j >= 0 && j < side) found[j * side + i] = values[n];
    }
  }
  return { values: found, side };
}
