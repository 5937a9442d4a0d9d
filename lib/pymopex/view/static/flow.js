// The flow: inputs, pipelines and their modules, and the buttons that run them.

import { ask, byId, get, make, post, size, tell, tried } from "./api.js";
import { openForm, openNamelist } from "./form.js";

let flow = null, chosen = null, running = { running: false };

export const refreshFlow = tried(async () => { take(await get("flow")); });

function take(found) {
  flow = found;
  byId("folder").textContent = flow.folder;
  byId("cwd").textContent = flow.cwd;
  byId("command").textContent = flow.command || "the flow is empty";
  if (chosen && !flow.steps.some((step) => step.name === chosen.name)) chosen = null;
  showSteps();
  showInputs();
  if (!byId("add-pipeline").children.length) showTemplates();
}

function showInputs() {
  const fields = [...byId("inputs-form").querySelectorAll("input")];
  const values = { ...Object.fromEntries(flow.inputs.map((one) => [one.flag, one.value])), more: flow.more };
  if (fields.length) {
    for (const field of fields) if (field !== document.activeElement) field.value = values[field.dataset.flag];
    return;
  }
  const row = (label, name, value) => {
    const input = make("input", { value, spellcheck: false, onchange: saveInputs });
    input.dataset.flag = name;
    return [make("label", {}, label), input];
  };
  byId("inputs-form").replaceChildren(
    make("p", { class: "quiet" }, "They go before what the namelists say; leave empty what the namelists have."),
    ...flow.inputs.flatMap((one) => row(`${one.meaning} ${one.flag === "u" ? "" : `(-${one.flag})`}`, one.flag, one.value)),
    ...row("further KEY=VALUE words, such as do_multiprocess=off", "more", flow.more));
  byId("inputs").open = !flow.steps.length;
}

const saveInputs = tried(async () => {
  const inputs = {}, fields = byId("inputs-form").querySelectorAll("input");
  for (const field of fields) inputs[field.dataset.flag] = field.value;
  const { more, ...flags } = inputs;
  take(await post("inputs", { inputs: flags, more }));
});

export const useAsInput = tried(async (flag, value) => {
  const inputs = Object.fromEntries(flow.inputs.map((one) => [one.flag, one.flag === flag ? value : one.value]));
  take(await post("inputs", { inputs, more: flow.more }));
  tell(`list of positions of the flow: ${value}`);
});

function showTemplates() {
  const { pipelines, instruments } = flow.templates;
  const option = ([key, title]) => make("option", { value: key }, title);
  byId("add-pipeline").replaceChildren(option(["flow", "Overlap, Mosaic, APEX, APEX QA"]), ...Object.entries(pipelines).map(option));
  byId("add-instrument").replaceChildren(...Object.entries(instruments).map(option));
}

function showSteps() {
  const steps = flow.steps.map((step, at) => make("div", { class: "step" },
    make("div", { class: "head" }, make("b", { title: step.name }, step.title),
      make("button", { title: "earlier", disabled: at === 0, onclick: () => act("move", { name: step.name, by: -1 }) }, "↑"),
      make("button", { title: "later", disabled: at === flow.steps.length - 1, onclick: () => act("move", { name: step.name, by: 1 }) }, "↓"),
      make("button", { title: `edit ${step.name}`, onclick: () => openNamelist(step.name) }, "✎"),
      make("button", { title: "take out of the flow; the namelist stays", onclick: () => act("remove", { name: step.name }) }, "×")),
    ...step.problems.map((text) => make("div", { class: "problem" }, text)),
    ...step.modules.map((module) => moduleLine(step, module))));
  byId("steps").replaceChildren(...(steps.length ? steps : [make("p", { class: "quiet" }, "No flow yet: add pipelines from their templates below, or open a namelist under Products and add it.")]));
  const off = !chosen || running.running;
  byId("run-from").disabled = byId("run-only").disabled = off;
  byId("run").disabled = byId("run-resume").disabled = running.running || !flow.steps.length;
  byId("stop").disabled = !running.running;
}

function moduleLine(step, module) {
  const { record } = module;
  const active = running.running && running.module === module.task && (!running.pipeline || running.pipeline === step.pipeline);
  const state = active ? "running" : record ? (record.status === "done" ? "done" : "failed") : "";
  const time = record ? `${Number(record.seconds.toPrecision(2))} s` : "";
  const told = record ? `last run: ${record.status}, ${record.seconds} s, ${record.megabytes} MB` : "not run yet";
  const picked = chosen && chosen.name === step.name && chosen.task === module.task;
  const line = make("div", { class: `module ${state}${module.on ? "" : " off"}${picked ? " chosen" : ""}`, title: `${module.purpose}. ${told}`, onclick: () => pick(step, module) },
    make("input", { type: "checkbox", checked: module.on, disabled: !module.switch, title: module.switch || "no switch: other modules decide", onclick: (event) => { event.stopPropagation(); act("switch", { name: step.name, task: module.task, on: event.target.checked }); } }),
    make("span", { class: "name" }, module.title), make("span", { class: "time" }, time), make("span", { class: "dot" }));
  line.dataset.task = `${step.pipeline}.${module.task}`;
  return line;
}

const act = tried(async (action, words) => {
  take(await post(action, words));
  if (action === "switch") document.dispatchEvent(new CustomEvent("edited", { detail: words.name }));
});

function pick(step, module) {
  chosen = { name: step.name, task: module.task };
  showSteps();
  openForm(step.name, module.task);
}

const start = (what) => tried(async () => {
  await post("run", { what, ...(["flow", "resume"].includes(what) ? {} : chosen) });
  document.dispatchEvent(new Event("started"));
});

export function showRunning(state) {
  const before = `${running.running}|${running.module}|${running.pipeline}`;
  running = state;
  if (flow && before !== `${state.running}|${state.module}|${state.pipeline}`) showSteps();
}

const deleteIntermediate = tried(async () => {
  const found = (await get("intermediate")).filter((one) => one.files.length);
  if (!found.length) { await ask("Intermediate files", make("p", {}, "There are none.")); return; }
  const total = found.reduce((sum, one) => sum + one.bytes, 0), count = found.reduce((sum, one) => sum + one.files.length, 0);
  const content = make("div", {}, make("p", {}, `${count} files, ${size(total)}: images of single frames, and tiles, that no later pipeline needs.`),
    ...found.flatMap((one) => [make("h3", {}, `${one.name}: ${one.files.length} files, ${size(one.bytes)}`), make("pre", {}, one.files.join("\n"))]));
  if (!(await ask("Delete intermediate files?", content, "Delete them"))) return;
  await post("clean", { names: found.map((one) => one.name) });
  document.dispatchEvent(new Event("started"));
});

export function setUpFlow() {
  byId("run").addEventListener("click", start("flow"));
  byId("run-resume").addEventListener("click", start("resume"));
  byId("run-from").addEventListener("click", start("from"));
  byId("run-only").addEventListener("click", start("only"));
  byId("stop").addEventListener("click", tried(async () => { await post("stop"); }));
  byId("delete-list").addEventListener("click", deleteIntermediate);
  byId("namelist-add").addEventListener("click", () => act("open", { name: byId("namelist-name").value }));
  byId("add").addEventListener("submit", (event) => {
    event.preventDefault();
    act("add", { pipeline: byId("add-pipeline").value, instrument: byId("add-instrument").value });
  });
  byId("inputs-form").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("edited", refreshFlow);
}
