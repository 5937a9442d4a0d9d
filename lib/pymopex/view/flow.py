"""The flow of a run directory: its pipelines and their namelists, the forms of their modules, and its command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pymopex.kit import driver, files, manual, namelist, parameters, sheets, templates
from pymopex.kit.errors import InputError
from pymopex.kit.namelist import Namelist
from pymopex.kit.parameters import Settings
from pymopex.kit.sheets import Parameter
from pymopex.view.places import RunFolder

FOLDER = "flow"
"""Folder of the run directory for namelists made here; those a run leaves stand beside it."""
_STATE = f"{FOLDER}/flow.json"
INPUTS = {"I": "", "S": "", "d": "", "M": "", "m": "", "P": "", "F": "", "u": "INPUT_USER_LIST"}
"""Flags of inputs that all pipelines of a flow share, and the key of those that the flow has no flag for."""
_locked = threading.RLock()


class Flow:
    """The flow of a run directory.

    Parameters
    ----------
    folder : RunFolder
        The run directory. Its flow is the one that was built here last; else the namelists that a run left there.
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.names: list[str] = []
        self.inputs: dict[str, str] = {}
        self.more = ""
        try:
            with open(os.path.join(folder.root, _STATE), encoding="utf-8") as file:
                state = json.load(file)
            self.names = [str(name) for name in state["namelists"] if self._is_there(str(name))]
            self.inputs = {flag: str(value) for flag, value in state["inputs"].items() if flag in INPUTS}
            self.more = str(state.get("more", ""))
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            self.names = list(self._left_by_a_run())

    def _is_there(self, name: str) -> bool:
        return name.endswith(".nl") and self.folder.holds(os.path.join(self.folder.root, name))

    def _left_by_a_run(self) -> Iterable[str]:
        """Find the namelists at the top of the run directory, in the order of their pipelines."""
        found: dict[str | None, str] = {}
        for name in sorted(os.listdir(self.folder.root)):
            if name.endswith(".nl") and os.path.isfile(os.path.join(self.folder.root, name)):
                with suppress(InputError):
                    found.setdefault(driver.pipeline_of(self._read(name)), name)
        return (found[pipeline] for pipeline in sheets.PIPELINES if pipeline in found)

    def _read(self, name: str) -> Namelist:
        return namelist.read(self.folder.path(name))

    def _settings(self, name: str) -> Settings:
        found = self._read(name)
        found.path = self.folder.shown(name)
        return Settings(found, _pipeline(found, name))

    def state(self) -> dict[str, Any]:
        """Give what the page shows of the flow: inputs, pipelines with their modules, and templates."""
        with _locked:
            if not self.names and not os.path.exists(os.path.join(self.folder.root, _STATE)):
                self.names = list(self._left_by_a_run())  # a shell may have run a flow meanwhile
            done = _last_records(self.folder)
            known = driver.flags_of("flow") | {"u": ("INPUT_USER_LIST", "table of positions (user list)")}
            return {
                "folder": self.folder.name,
                "cwd": os.getcwd(),
                "inputs": [
                    {"flag": flag, "meaning": known[flag][1], "value": self.inputs.get(flag, "")}
                    for flag in INPUTS
                ],
                "more": self.more,
                "steps": [self._step(name, done) for name in self.names],
                "templates": templates.titles(),
                "command": self.command_text("flow"),
            }

    def _step(self, name: str, done: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
        try:
            settings = self._settings(name)
        except (InputError, OSError) as problem:
            return {"name": name, "pipeline": "", "title": name, "modules": [], "problems": [str(problem)]}
        modules: list[dict[str, Any]] = []
        for task in driver.pipeline_tasks(settings.pipeline):
            sheet = sheets.sheet(task)
            modules.append(
                {
                    "task": task,
                    "title": sheet.title,
                    "purpose": sheet.purpose,
                    "switch": sheet.triggers[0] if sheet.triggers else "",
                    "on": settings.triggered(task),
                    "record": done.get((settings.pipeline, task)),
                }
            )
        for module in modules:
            if module["on"]:
                settings.params(module["task"])
        title = templates.title(settings.pipeline)
        problems = list(dict.fromkeys(settings.problems))
        return {
            "name": name,
            "pipeline": settings.pipeline,
            "title": title,
            "modules": modules,
            "problems": problems,
        }

    def add(self, pipeline: str, instrument: str) -> None:
        """Put a pipeline into the flow, from its template: behind those that come before it in a flow.

        Raises
        ------
        InputError
            There is no such template, or the flow has this pipeline.
        """
        with _locked:
            pipelines = sheets.FLOW if pipeline == "flow" else (pipeline,)
            made = {
                templates.file_name(one, instrument): templates.make(one, instrument) for one in pipelines
            }
            for file_name, text in made.items():
                name = f"{FOLDER}/{file_name}"
                if name in self.names:
                    raise InputError(f"{name}: is in the flow already")
                if not os.path.exists(self.folder.path(name)):
                    files.write_text(self.folder.path(name), text)
                self._insert(name)
            self._save()

    def open(self, name: str) -> None:
        """Put a namelist of the run directory into the flow.

        Raises
        ------
        InputError
            It is no namelist, or is in the flow already.
        """
        with _locked:
            self.folder.file(name)
            if name in self.names:
                raise InputError(f"{name}: is in the flow already")
            self._settings(name)
            self._insert(name)
            self._save()

    def _insert(self, name: str) -> None:
        place = _place(self._settings(name).pipeline)
        at = 0
        for number, other in enumerate(self.names, 1):
            with suppress(InputError):
                at = number if _place(self._settings(other).pipeline) <= place else at
        self.names.insert(at, name)

    def remove(self, name: str) -> None:
        """Take a pipeline out of the flow; its namelist stays."""
        with _locked:
            self.names.remove(self._own(name))
            self._save()

    def move(self, name: str, by: int) -> None:
        """Move a pipeline to an earlier (-1) or a later (1) place."""
        with _locked:
            at = self.names.index(self._own(name))
            self.names.insert(max(0, at + by), self.names.pop(at))
            self._save()

    def set_inputs(self, inputs: dict[str, str], more: str) -> None:
        """Set the inputs that all pipelines share, by flag, and further ``KEY=VALUE`` words.

        Raises
        ------
        InputError
            A word is none.
        """
        for value in [*inputs.values(), more]:
            _one_line(value)
        try:
            words = shlex.split(more)
        except ValueError as problem:
            raise InputError(f"{more}: {problem}") from None
        if any(word.startswith("-") or "=" not in word for word in words):
            raise InputError(f"{more}: write KEY=VALUE or BLOCK.KEY=VALUE, with blanks between")
        with _locked:
            self.inputs = {
                flag: value.strip() for flag, value in inputs.items() if flag in INPUTS and value.strip()
            }
            self.more = more.strip()
            self._save()

    def _own(self, name: str) -> str:
        if name not in self.names:
            raise InputError(f"{name}: is not in the flow")
        return name

    def _save(self) -> None:
        state = {"namelists": self.names, "inputs": self.inputs, "more": self.more}
        files.write_text(self.folder.path(_STATE), json.dumps(state, indent=1) + "\n")

    def form(self, name: str, task: str) -> dict[str, Any]:
        """Give the form of a module: its parameters and the shared keys it uses, with values, defaults and help."""
        with _locked:
            settings = self._settings(self._own(name))
            sheet = sheets.sheet(task)
            fields = [_field(settings, parameter) for parameter in sheet.parameters]
            return {
                "name": name,
                "task": task,
                "title": sheet.title,
                "purpose": sheet.purpose,
                "block": sheet.block,
                "facts": manual.facts(sheet),
                "own": [field for field in fields if field["block"]],
                "shared": [field for field in fields if not field["block"]],
            }

    def set_value(self, name: str, task: str, block: str, key: str, value: str) -> dict[str, Any]:
        """Set a parameter in a namelist and save it; gives its field of the form.

        Raises
        ------
        InputError
            There is no such parameter, or the value is not allowed; nothing is changed then.
        """
        with _locked:
            settings = self._settings(self._own(name))
            found = [p for p in sheets.sheet(task).parameters if (p.name, p.block) == (key, block)]
            if not found:
                raise InputError(f"{task}: has no parameter {key}")
            value = _one_line(value).strip()
            if value:
                try:
                    parameters.convert(found[0], value)
                except ValueError as reason:
                    raise InputError(
                        f"{found[0].full_name} = {value}: {reason}; allowed: {found[0].allowed}"
                    ) from None
            entry = settings.entry(found[0])
            if value or (entry is not None and entry.value):
                settings.namelist.set(entry.key if entry else key, _written(found[0], value), block)
                self._write(name, settings.namelist)
            return _field(self._settings(name), found[0])

    def switch(self, name: str, task: str, on: bool) -> None:
        """Switch a module on or off in its namelist, and save it."""
        with _locked:
            found, sheet = self._read(self._own(name)), sheets.sheet(task)
            if not sheet.triggers:
                raise InputError(f"{task}: has no switch; the modules around it decide")
            given = [trigger for trigger in sheet.triggers if found.get(trigger)]
            found.set((given or list(sheet.triggers))[0], str(int(on)))
            self._write(name, found)

    def _write(self, name: str, found: Namelist) -> None:
        files.write_text(self.folder.path(name), found.text())

    def text(self, name: str) -> str:
        """Give the text of a namelist of the run directory."""
        return self._read(_namelist_name(name)).text()

    def save_text(self, name: str, text: str) -> list[str]:
        """Save the text of a namelist inside the run directory; gives what is wrong with its values.

        Raises
        ------
        InputError
            It is no namelist; nothing is saved then.
        """
        with _locked:
            path = self.folder.path(_namelist_name(name))
            found = namelist.parse(text, name)
            files.write_text(path, text if text.endswith("\n") else text + "\n")
            settings = Settings(found, _pipeline(found, name))
            for task in driver.pipeline_tasks(settings.pipeline):
                if settings.triggered(task):
                    settings.params(task)
            return list(dict.fromkeys(settings.problems))

    def command(self, what: str, name: str = "", task: str = "") -> list[str]:
        """Give the command that runs the flow, or a part of it, as its words.

        Parameters
        ----------
        what : {'flow', 'resume', 'from', 'only'}
            All of it, what is not done of it, from a module on, or a module alone.
        name, task : str
            Namelist and module.

        Raises
        ------
        InputError
            The flow is empty.
        """
        if not self.names:
            raise InputError("the flow is empty: add a pipeline from a template, or open a namelist")
        words = ["flow.sh"]
        for flag, key in INPUTS.items():
            value = self.inputs.get(flag)
            if value:
                words += [f"{key}={value}"] if key else [f"-{flag}", value]
        words += [*shlex.split(self.more), "-O", self.folder.name]
        if what == "resume":
            words.append("--resume")
        elif what != "flow":
            pipeline = self._settings(self._own(name)).pipeline
            words += [f"--{what}", f"{pipeline}.{task}"]
        return [*words, *(self.folder.shown(one) for one in self.names)]

    def command_text(self, what: str) -> str:
        """Give the command as it is typed; empty for an empty flow."""
        return shlex.join(self.command(what)) if self.names else ""


def _namelist_name(name: str) -> str:
    if not name.endswith(".nl"):
        raise InputError(f"{name}: the name of a namelist ends with .nl")
    return name


def _pipeline(found: Namelist, name: str) -> str:
    pipeline = driver.pipeline_of(found)
    if pipeline is None:
        raise InputError(f"{name}: neither its name nor a Flow line tells the pipeline")
    return pipeline


def _place(pipeline: str) -> int:
    return sheets.PIPELINES.index(pipeline)


def _one_line(value: str) -> str:
    if any(letter < " " for letter in value):
        raise InputError(f"{value!r}: a value is one line of text")
    return value


def _written(parameter: Parameter, value: str) -> str:
    """Give a value as a namelist holds it, in quotes where it needs some."""
    if "'" in value and '"' in value:
        raise InputError(f"{value}: a value cannot hold both kinds of quotes")
    if "'" in value:
        return f'"{value}"'
    text = manual.quoted(parameter, value) if value else ""
    return f"'{value}'" if text == value and re.search(r"[,#\"]", value) else text


def _field(settings: Settings, parameter: Parameter) -> dict[str, Any]:
    """Give one field of a form."""
    entry = settings.entry(parameter)
    value = entry.value if entry is not None else ""
    default = parameter.default_in(settings.pipeline)
    problem = ""
    if value:
        try:
            parameters.convert(parameter, value)
        except ValueError as reason:
            problem = f"{reason}; allowed: {parameter.allowed}"
    return {
        "key": parameter.name,
        "block": parameter.block,
        "kind": parameter.kind,
        "choices": list(parameter.choices),
        "unit": parameter.unit,
        "meaning": parameter.meaning,
        "allowed": parameter.allowed,
        "default": "" if default == "None" else default,
        "value": value,
        "problem": problem,
    }


def _last_records(folder: RunFolder) -> dict[tuple[str, str], dict[str, Any]]:
    """Give the last record of each module of each pipeline: status, seconds and megabytes."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in folder.records():
        about = {key: one.get(key) for key in ("status", "seconds", "megabytes")}
        found[str(one.get("pipeline", "")), str(one["task"])] = about
    return found
