// The form of a module, made from its sheet, and the text of a namelist.

import { byId, get, make, post, showTab, tell, tried } from "./api.js";

let open = null; // the namelist in the editor: name and text as saved

export const openForm = tried(async (name, task, turn = true) => {
  const form = await get("form", { name, task });
  const title = make("h2", {}, form.title, make("span", { class: "quiet" }, `  ${task}`));
  const about = [make("p", {}, `${form.purpose}.`), ...form.facts.map((fact) => make("p", { class: "quiet" }, fact))];
  const where = make("p", {}, "in ", make("a", { href: "#", onclick: (event) => { event.preventDefault(); openNamelist(name); } }, name));
  const parts = [title, ...about, where];
  if (form.own.length) parts.push(make("h3", {}, `Parameters of &${form.block}`), fields(form, form.own));
  else parts.push(make("p", { class: "quiet" }, "It has no parameters of its own."));
  if (form.shared.length) parts.push(make("details", {}, make("summary", {}, "Keys shared with other modules"), fields(form, form.shared)));
  byId("form").replaceChildren(...parts);
  if (turn) showTab("centre", "module");
});

function fields(form, list) {
  const grid = make("div", { class: "fields" });
  for (const field of list) grid.append(...field3(form, field));
  return grid;
}

function field3(form, field) {
  const id = `${field.block}.${field.key}`;
  const label = make("label", { title: field.key }, field.key);
  label.setAttribute("for", id);
  const note = make("span", { class: "bad" });
  const help = make("span", { class: "help" });
  const show = (now) => {
    const given = now.value !== "" && now.value !== now.default;
    label.classList.toggle("set", given);
    label.title = given ? `set in the namelist; default ${now.default || "none"}` : "default";
    note.textContent = now.problem;
    help.replaceChildren(`${now.unit ? `[${now.unit}] ` : ""}${now.meaning} (${now.allowed}; default ${now.default || "none"})`, note);
  };
  show(field);
  const set = tried(async (value) => {
    try {
      show(await post("set", { name: form.name, task: form.task, block: field.block, key: field.key, value }));
      input.classList.remove("bad");
      document.dispatchEvent(new CustomEvent("edited", { detail: form.name }));
    } catch (problem) {
      input.classList.add("bad");
      note.textContent = problem.message;
    }
  });
  const input = entry(field, set);
  input.id = id;
  input.dataset.key = field.key;
  return [label, input, help];
}

function entry(field, set) {
  if (field.kind === "switch") {
    const on = ["1", "on", "yes", "true", "1.0"].includes((field.value || field.default).toLowerCase());
    return make("input", { type: "checkbox", checked: on, onchange: (event) => set(event.target.checked ? "1" : "0") });
  }
  if (field.choices.length) {
    const now = field.choices.find((word) => word.toLowerCase() === field.value.toLowerCase()) || "";
    const words = ["", ...field.choices].map((word) => make("option", { value: word, selected: word === now }, word || `(${field.default || "none"})`));
    return make("select", { onchange: (event) => set(event.target.value) }, ...words);
  }
  return make("input", { value: field.value, placeholder: field.default, spellcheck: false, onchange: (event) => set(event.target.value) });
}

export const openNamelist = tried(async (name, turn = true) => {
  open = await get("namelist", { name });
  byId("namelist-name").value = name;
  byId("namelist-name").disabled = false;
  byId("namelist-text").value = open.text;
  byId("namelist-text").disabled = false;
  byId("namelist-save").disabled = true;
  byId("namelist-note").textContent = "";
  if (turn) showTab("centre", "namelist");
});

const save = tried(async () => {
  const text = byId("namelist-text").value, note = byId("namelist-note");
  try {
    const name = byId("namelist-name").value.trim();
    const { problems } = await post("save", { name, text });
    open = { name, text };
    byId("namelist-save").disabled = true;
    note.className = problems.length ? "bad" : "quiet";
    note.textContent = problems.length ? `saved; ${problems.join("; ")}` : "saved";
    document.dispatchEvent(new CustomEvent("edited", { detail: null }));
    document.dispatchEvent(new Event("made"));
  } catch (problem) {
    note.className = "bad";
    note.textContent = `not saved: ${problem.message}`;
  }
});

export function setUpForm() {
  for (const id of ["namelist-text", "namelist-name"]) {
    byId(id).addEventListener("input", () => {
      byId("namelist-save").disabled = byId("namelist-text").value === open.text && byId("namelist-name").value.trim() === open.name;
    });
  }
  byId("namelist-save").addEventListener("click", save);
  document.addEventListener("edited", (event) => {
    if (!open || event.detail !== open.name) return;
    if (byId("namelist-save").disabled) openNamelist(open.name, false);
    else tell("The namelist changed in its form; the text in the editor is older.", true);
  });
}
