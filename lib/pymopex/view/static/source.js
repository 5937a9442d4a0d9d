// One source: its fit, in numbers and stamps, and its light curve.

import { byId, get, make } from "./api.js";
import { paint, table } from "./colour.js";
import { redraw, view } from "./image.js";
import { cut } from "./tiles.js";
import { setChosen } from "./overlay.js";
import { productsNow } from "./products.js";

const GRAY = table(Array.from({ length: 768 }, (_, n) => Math.floor(n / 3)), "linear");
const HALF = 12; // pixels of a stamp on each side
const SHORT = ["flux", "SNR", "chi2/dof", "status", "deblend", "n_frames", "RA", "Dec"];

export async function showSource(name, row) {
  const found = await get("source", { name, row });
  byId("right").hidden = false;
  const by = new Map(found.facts.map((fact) => [fact.name.toLowerCase(), fact]));
  const cell = (fact) => {
    const error = by.get(`delta_${fact.name.toLowerCase()}`);
    return `${fact.text || "–"}${error && error.text ? ` ± ${error.text}` : ""} ${fact.unit}`;
  };
  const line = (fact) => make("tr", { title: fact.meaning }, make("td", {}, fact.name), make("td", {}, fact.name.match(/^(RA|Dec)$/) ? `${fact.text} ${fact.unit}` : cell(fact)));
  const short = SHORT.map((key) => by.get(key.toLowerCase())).filter(Boolean);
  const number = by.get("srcid") || by.get("detid");
  const parts = [
    make("h2", {}, `${number ? `${number.name} ${number.text}` : `row ${row + 1}`}`),
    make("p", { class: "quiet" }, `${name}, row ${row + 1}`),
    make("table", { class: "plain key", id: "fit" }, make("tbody", {}, ...short.map(line))),
    make("div", { class: "stamps", id: "stamps" }),
  ];
  if (found.curve) parts.push(...curves(found.curve));
  else if (by.has("chi2/dof")) parts.push(make("p", { class: "quiet" }, "No light curve: it is in extract.h5, which APEX in all frames writes."));
  parts.push(make("h3", {}, "All columns"), make("table", { class: "plain key" }, make("tbody", {}, ...found.facts.map((fact) => make("tr", { title: fact.meaning }, make("td", {}, fact.name), make("td", {}, `${fact.text || "–"} ${fact.unit}`))))));
  byId("source").replaceChildren(...parts);
  redraw();
  if (found.ra !== null) await stamps(found.ra, found.dec);
}

// The image, the fitted sources and what they leave, where the run has a mosaic of residuals.
async function stamps(ra, dec) {
  const names = productsNow().map((one) => one.name).filter((one) => one.endsWith("/mosaic.fits"));
  const residual = names.find((one) => one.startsWith("Residual")), mosaic = names.find((one) => one.startsWith("Combine"));
  const wanted = mosaic && residual ? [["data", mosaic], ["residual", residual]] : view.image ? [["data", view.image.name]] : [];
  const made = [];
  for (const [title, name] of wanted) {
    const image = await get("image", { name });
    if (!image.sky) continue;
    const place = await get("pixel", { name, ra, dec });
    if (place.x !== null) made.push({ title, grid: image.grid, ...(await cut(image, place.x, place.y, HALF)) });
  }
  if (!made.length) return;
  const [data, left] = made;
  if (left && data.grid === left.grid) made.splice(1, 0, { title: "fitted sources", side: data.side, values: data.values.map((value, n) => value - left.values[n]) });
  const good = [...data.values].filter((value) => value === value).sort((a, b) => a - b);
  const shared = [good[Math.floor(good.length * 0.05)], good[good.length - 1]];
  byId("stamps").replaceChildren(...made.map((one) => {
    const canvas = make("canvas", {});
    const [low, high] = one.title === "data" ? shared : one.title === "residual" ? noiseScale(one.values) : [0, shared[1] - shared[0]];
    paint(canvas, one.values, one.side, one.side, low, high, GRAY);
    return make("figure", {}, canvas, make("figcaption", {}, one.title === "residual" ? "residual, ±5 σ" : one.title));
  }));
}

// Five times the scatter of the values on both sides of their median.
function noiseScale(values) {
  const middle = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
  const good = [...values].filter((value) => value === value), level = middle(good);
  const sigma = 1.4826 * middle(good.map((value) => Math.abs(value - level)));
  return [level - 5 * sigma, level + 5 * sigma];
}

function curves(curve) {
  const dated = curve.mjd && curve.mjd.every((value) => value !== null) && Math.max(...curve.mjd) > Math.min(...curve.mjd);
  const first = dated ? Math.min(...curve.mjd) : 0, long = dated && Math.max(...curve.mjd) - first > 2;
  const at = dated ? curve.mjd.map((day) => (day - first) * (long ? 1 : 1440)) : curve.frame;
  const label = dated ? `${long ? "days" : "minutes"} from MJD ${first.toFixed(5)}` : "frame";
  return [
    make("h3", { title: "at the position of the fit of all frames" }, `Light curve, ${curve.flux.length} frames [µJy]`),
    plot(at, [["flux", curve.flux, curve.delta_flux, "#1f5fa8"]], label, true),
    make("h3", { title: "how far the source lies from its place, in pixels of the frame" }, "Shift in the frames, dx ● dy ○ [pixel]"),
    plot(at, [["dx", curve.dx, curve.delta_dx, "#2e7d4f"], ["dy", curve.dy, curve.delta_dy, "#c77700"]], label, false),
  ];
}

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 3)), rough = (high - low) / 3 / step;
  const wide = step * (rough >= 5 ? 5 : rough >= 2 ? 2 : 1);
  const found = [];
  for (let at = Math.ceil(low / wide) * wide; at <= high; at += wide) found.push(Number(at.toPrecision(12)));
  return found;
}

function plot(at, series, label, weighted) {
  const [width, height, left, foot] = [320, 150, 46, 30];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot" });
  const known = (value) => value !== null && value !== undefined;
  const values = series.flatMap(([, flux, error]) => flux.flatMap((one, n) => (known(one) ? [one - (error[n] || 0), one + (error[n] || 0)] : [])));
  if (!values.length) return picture;
  const [minX, maxX] = [Math.min(...at), Math.max(...at)], [minY, maxY] = [Math.min(...values), Math.max(...values)];
  const padX = (maxX - minX || 1) * 0.04, padY = (maxY - minY || 1) * 0.08;
  const x = (value) => left + (value - minX + padX) / (maxX - minX + 2 * padX) * (width - left - 6);
  const y = (value) => 6 + (maxY + padY - value) / (maxY - minY + 2 * padY) * (height - foot - 6);
  picture.append(svg("rect", { x: left, y: 6, width: width - left - 6, height: height - foot - 6, fill: "none", stroke: "#c3cad2" }));
  for (const tick of ticks(minY - padY, maxY + padY)) picture.append(svg("text", { x: left - 4, y: y(tick) + 3, "text-anchor": "end" }, Number(tick.toPrecision(4))), svg("line", { x1: left, x2: width - 6, y1: y(tick), y2: y(tick), stroke: "#eef1f4" }));
  for (const tick of ticks(minX - padX, maxX + padX)) picture.append(svg("text", { x: x(tick), y: height - foot + 12, "text-anchor": "middle" }, Number(tick.toPrecision(4))));
  picture.append(svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, label));
  if (weighted) {
    const [, flux, error] = series[0];
    let sum = 0, weights = 0;
    flux.forEach((one, n) => { if (known(one) && error[n] > 0) { sum += one / error[n] ** 2; weights += 1 / error[n] ** 2; } });
    if (weights) picture.append(svg("line", { x1: left, x2: width - 6, y1: y(sum / weights), y2: y(sum / weights), stroke: "#b3261e", "stroke-dasharray": "4 3" }));
  }
  series.forEach(([name, flux, error, colour], which) => flux.forEach((one, n) => {
    if (!known(one)) return;
    const spread = error[n] || 0, dot = svg("circle", { cx: x(at[n]), cy: y(one), r: 2.6, fill: which ? "#fff" : colour, stroke: colour });
    dot.append(svg("title", {}, `${name} ${Number(one.toPrecision(5))} ± ${Number(spread.toPrecision(3))}`));
    picture.append(svg("line", { x1: x(at[n]), x2: x(at[n]), y1: y(one - spread), y2: y(one + spread), stroke: colour }), dot);
  }));
  return picture;
}

export function setUpSource() {
  byId("right-close").addEventListener("click", () => { byId("right").hidden = true; setChosen(null); });
}
