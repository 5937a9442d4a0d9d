// The page: its parts set up, and the command at work followed.

import { byId, get, make, setUpTabs, showTab } from "./api.js";
import { refreshFlow, setUpFlow, showRunning } from "./flow.js";
import { setUpForm } from "./form.js";
import { refresh, setUpImage } from "./image.js";
import { forget, setUpOverlays } from "./overlay.js";
import { setUpPositions } from "./positions.js";
import { refreshProducts, setUpProducts } from "./products.js";
import { setUpSource } from "./source.js";
import { refreshTable, setUpTable } from "./table.js";

let next = 0, was = { running: false, module: "" }, timer = 0;

function addLines(lines) {
  const log = byId("log"), pane = log.parentElement;
  const below = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
  for (const line of lines) {
    const kind = /^Error/.test(line) ? "error" : /Warning/.test(line) ? "warning" : /^(\$|==|exit status)/.test(line) ? "command" : /\/mopex \w+ /.test(line) ? "module" : "";
    log.append(make("span", { class: kind }, `${line}\n`));
  }
  if (below) pane.scrollTop = pane.scrollHeight;
}

function showStatus(state) {
  const status = byId("status");
  status.className = state.running ? "running" : state.failed ? "failed" : "";
  const seconds = state.started ? Math.round(state.running ? state.now - state.started : state.seconds) : 0;
  if (state.running) status.textContent = [`${state.pipeline} ${state.module}`.trim() || "starting", state.progress, `${seconds} s`].filter(Boolean).join(" · ");
  else if (state.status === null) status.textContent = "ready";
  else status.textContent = state.status === 0 ? `done in ${seconds} s` : state.status === 130 ? `stopped after ${seconds} s` : `failed (exit status ${state.status}); see the log`;
  status.dataset.status = state.running ? "running" : state.status ?? "";
}

async function everything() {
  await refreshFlow();
  const products = await refreshProducts();
  await refresh(products);
  await refreshTable(products);
}

async function follow() {
  clearTimeout(timer);
  try {
    const state = await get("state", { since: next });
    next = state.next;
    if (state.lines.length) addLines(state.lines);
    showStatus(state);
    showRunning(state);
    const moved = state.running !== was.running || state.module !== was.module || state.started !== was.started;
    const ended = state.started !== undefined && !state.running && (was.running || state.started !== was.started);
    was = state;
    if (moved) await everything();
    if (ended) { forget(); document.dispatchEvent(new Event("ended")); }
  } catch (problem) {
    byId("status").className = "failed";
    byId("status").textContent = `the viewer does not answer (${problem.message}); is mopex view still running?`;
  }
  timer = setTimeout(follow, was.running ? 500 : 2000);
}

setUpTabs();
for (const setUp of [setUpFlow, setUpForm, setUpImage, setUpOverlays, setUpPositions, setUpProducts, setUpSource, setUpTable]) setUp();
byId("taller").addEventListener("click", () => {
  const main = document.querySelector("main"), now = main.style.getPropertyValue("--low") || "30%";
  main.style.setProperty("--low", { "30%": "55%", "55%": "12%", "12%": "30%" }[now]);
});
document.addEventListener("started", () => { showTab("bottom", "log"); follow(); });
document.addEventListener("made", refreshProducts);
await everything();
follow();
