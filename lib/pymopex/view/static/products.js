// The files of the run, by folder.

import { byId, get, make, post, size, tell, tried } from "./api.js";
import { open } from "./image.js";
import { openTable } from "./table.js";
import { openNamelist } from "./form.js";

const SIGNS = { image: "▦", table: "≡", page: "¶", picture: "▣", namelist: "✎", text: "¶", other: "·" };
let products = [];
const opened = new Set([""]);

export function productsNow() { return products; }

export async function refreshProducts() {
  products = await get("products");
  show();
  return products;
}

function show() {
  const part = byId("product-filter").value.trim().toLowerCase();
  const groups = new Map();
  for (const one of products) {
    if (part && !one.name.toLowerCase().includes(part)) continue;
    const folder = one.name.includes("/") ? one.name.slice(0, one.name.lastIndexOf("/")) : "";
    if (!groups.has(folder)) groups.set(folder, []);
    groups.get(folder).push(one);
  }
  const main = (folder) => (folder === "" ? 0 : folder.startsWith("Combine") ? 1 : folder.startsWith("Residual/mosaic/Combine") ? 2 : 3);
  const folders = [...groups.keys()].sort((a, b) => main(a) - main(b) || a.localeCompare(b));
  byId("product-list").replaceChildren(...folders.map((folder) => {
    const some = groups.get(folder);
    const details = make("details", { class: "group", open: main(folder) < 3 || opened.has(folder) || (part !== "" && some.length < 200) },
      make("summary", {}, `${folder || "run directory"} (${some.length})`));
    const fill = () => { if (details.open && details.children.length === 1) details.append(...some.map(line)); };
    details.addEventListener("toggle", () => { if (details.open) opened.add(folder); else opened.delete(folder); fill(); });
    fill();
    return details;
  }));
  if (!products.length) byId("product-list").replaceChildren(make("p", { class: "quiet" }, "Nothing has been made here yet."));
}

function line(one) {
  const title = [one.task ? `made by ${one.task}` : "", new Date(one.time * 1000).toLocaleString()].filter(Boolean).join(", ");
  const row = make("div", { class: `product ${one.kind}`, title, onclick: () => act(one), oncontextmenu: (event) => { event.preventDefault(); send(one); } },
    make("span", { class: "kind" }, SIGNS[one.kind]), make("span", { class: "name" }, one.name.split("/").pop()));
  if (["image", "table"].includes(one.kind)) row.append(make("button", { class: "send", title: "send to DS9, TOPCAT … (mopex send)", onclick: (event) => { event.stopPropagation(); send(one); } }, "↗"));
  row.append(make("span", { class: "size" }, size(one.size)));
  row.dataset.name = one.name;
  return row;
}

const send = tried(async (one) => { await post("send", { name: one.name }); tell(`mopex send ${one.name}: see the log`); document.dispatchEvent(new Event("started")); });

function act(one) {
  if (one.kind === "image") open(one.name);
  else if (one.kind === "table") openTable(one.name);
  else if (one.kind === "namelist") openNamelist(one.name);
  else if (one.kind !== "other") window.open(`file/${one.name.split("/").map(encodeURIComponent).join("/")}`, "_blank", "noopener");
  else tell(`${one.name} is of a kind that is not shown here.`);
}

export function setUpProducts() {
  byId("product-filter").addEventListener("input", show);
}
