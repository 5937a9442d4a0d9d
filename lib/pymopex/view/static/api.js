// Requests to the server, and small helpers for the page.

export const byId = (id) => document.getElementById(id);

async function answer(response) {
  const found = await response.json();
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

export async function get(action, words = {}) {
  return answer(await fetch(`${action}?${new URLSearchParams(words)}`));
}

export async function post(action, words = {}) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(action, { method: "POST", headers, body: JSON.stringify(words) }));
}

// A new element: tag, attributes (class, title, on...), then children.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && name !== "form") element[name === "class" ? "className" : name] = value;
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let hiding = 0;
export function tell(text, bad = false) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.className = `shown${bad ? " bad" : ""}`;
  clearTimeout(hiding);
  hiding = setTimeout(() => { toast.className = ""; }, bad ? 9000 : 3500);
}

// Run something that may fail, and tell the user if it does.
export function tried(work) {
  return async (...given) => {
    try { return await work(...given); } catch (problem) { tell(problem.message, true); return undefined; }
  };
}

export function showTab(place, name) {
  for (const button of document.querySelectorAll(`.tabs[data-for=${place}] button[data-tab]`)) button.classList.toggle("on", button.dataset.tab === name);
  for (const pane of document.querySelectorAll(`#${place} > .pane`)) pane.classList.toggle("shown", pane.dataset.pane === name);
  document.dispatchEvent(new CustomEvent("tab", { detail: { place, name } }));
}

export function setUpTabs() {
  for (const nav of document.querySelectorAll(".tabs[data-for]")) {
    for (const button of nav.querySelectorAll("button[data-tab]")) button.addEventListener("click", () => showTab(nav.dataset.for, button.dataset.tab));
    showTab(nav.dataset.for, nav.querySelector("button[data-tab]").dataset.tab);
  }
}

// Ask before something is done; gives true if the user agrees.
export function ask(title, content, action) {
  const dialog = byId("dialog");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector(".content").replaceChildren(content);
  const buttons = [make("button", { value: "no" }, action ? "Cancel" : "Close")];
  if (action) buttons.push(make("button", { value: "yes", class: "stop", id: "dialog-yes" }, action));
  dialog.querySelector("menu").replaceChildren(...buttons);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let number = bytes;
  while (number >= 1000 && units.length > 1) { number /= 1000; units.shift(); }
  return `${number < 10 && units[0] !== "B" ? number.toFixed(1) : Math.round(number)} ${units[0]}`;
}
