"""Values of a task's parameters: read from a namelist, overridden on the command line, validated together.

Every value remembers where it was set. All problems are collected; `Settings.problems` holds them as lines
``file:line: BLOCK.KEY = value: reason; allowed range``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pymopex.kit import sheets
from pymopex.kit.errors import suggestion
from pymopex.kit.namelist import Entry, Namelist
from pymopex.kit.sheets import Parameter

_TRUE, _FALSE = ("1", "on", "yes", "true", "1.0"), ("0", "off", "no", "false", "0.0")


@dataclass(frozen=True)
class Value:
    """A validated value with its declaration and its origin ('default', 'command line' or file:line)."""

    parameter: Parameter
    value: Any
    origin: str

    @property
    def is_default(self) -> bool:
        """Tell whether nobody set it."""
        return self.origin == "default"


class Params:
    """Validated parameters of one task, as attributes: ``params.Window_X``, ``params.OUTPUT_DIR``."""

    def __init__(self, values: dict[str, Value]):
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name].value
        except KeyError:
            raise AttributeError(f"no parameter {name} is declared for this task") from None

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values.values())

    def __getstate__(self):
        return self._values

    def __setstate__(self, values):
        self._values = values

    def origin(self, name: str) -> str:
        """Tell where a value was set."""
        return self._values[name].origin

    def is_set(self, name: str) -> bool:
        """Tell whether a value is given at all (not empty and not the default)."""
        value = self._values[name]
        return not value.is_default and value.value not in ("", None)

    def cards(self) -> tuple[str, ...]:
        """Give the values of the block as `KEY = value`, for HISTORY."""
        return tuple(f"{v.parameter.name} = {_text(v.value)}" for v in self if v.parameter.block)


class Settings:
    """A namelist with its command-line overrides, seen by the tasks of one pipeline.

    Parameters
    ----------
    namelist : Namelist
        The file's content; may be empty.
    pipeline : str
        One of `sheets.PIPELINES`: decides defaults such as directory names.
    overrides : dict of str to str, optional
        ``KEY`` or ``BLOCK.KEY`` to value.
    task : str, optional
        The task whose block a bare key of the command line may mean.
    """

    def __init__(self, namelist: Namelist, pipeline: str, overrides: dict[str, str] | None = None, task=""):
        self.namelist = namelist
        self.pipeline = pipeline
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.overrides: dict[tuple[str, str], Entry] = {}
        for key, value in (overrides or {}).items():
            self._override(key, value, task)
        self._check_names()

    def globals(self) -> Params:
        """Validate all shared keys."""
        return Params(dict(self._validated(sheets.common().own)))

    def params(self, task: str) -> Params:
        """Validate what a task takes: the shared keys it uses and its block."""
        sheet = sheets.sheet(task)
        if sheet.block and sheet.block_required and not self._has_block(sheet):
            self.warnings.append(
                f"{self.namelist.path}: no block &{sheet.block} for {task}: its parameters have their defaults"
            )
        return Params(dict(self._validated(sheet.parameters)))

    def triggered(self, task: str) -> bool:
        """Tell whether the namelist switches a task on (absent = off)."""
        sheet = sheets.sheet(task)
        if sheet.always or (task == "mosaic_reinterp" and self._second_pass(sheet)):
            return True
        found = [e for e in (self._entry(trigger, "") for trigger in sheet.triggers) if e]
        overruled = self._overruled(sheet) if found else ""
        switched = not found and sheet.with_block and self._holds_block(sheet)
        for entry in found[:1]:
            value = self._checked(_SWITCH, entry)
            switched = bool(value)
            if switched and overruled:
                self.warnings.append(f"{entry.origin}: {entry.key} is ignored: {overruled}")
        return switched and not overruled

    @property
    def two_passes(self) -> bool:
        """Whether frames are interpolated twice: by area overlap to find outliers, then as asked for without them.

        That is the case in Mosaic for drizzle and grid, with outlier masks.
        """
        if self.pipeline != "mosaic" or not self.triggered("mosaic_rmask"):
            return False
        method = next(p for p in sheets.sheet("mosaic_interp").own if p.name == "INTERP_METHOD")
        entry = self.entry(method)
        return (entry.value if entry and entry.value else method.default_in(self.pipeline)) in ("2", "3")

    def _second_pass(self, sheet: sheets.Sheet) -> bool:
        """Tell whether the second pass is due; a word on its switch, which then says nothing, is said once."""
        if not self.two_passes:
            return False
        found = [e for e in (self._entry(trigger, "") for trigger in sheet.triggers) if e]
        for entry in found[:1]:
            if self._checked(_SWITCH, entry):
                text = (
                    f"{entry.origin}: {entry.key} = {entry.value} is not needed with drizzle or grid: the second pass "
                    "is made without outliers, once"
                )
                self.warnings += [text] if text not in self.warnings else []
        return True

    def _overruled(self, sheet: sheets.Sheet) -> str:
        """Give the key that keeps a task off: the first of its ``unless`` that is given decides."""
        for key in sheet.unless:
            entry = self._entry(key, "")
            if entry is None or entry.value == "":
                continue
            off = entry.value.lower() in _FALSE
            return "" if off else f"{entry.key} = {entry.value}"
        return ""

    def entry(self, parameter: Parameter) -> Entry | None:
        """Give the entry that sets a parameter, by its name or an alias of it."""
        names = [parameter.name]
        aliases = _aliases_in(parameter.block)
        names += [alias for alias, name in aliases.items() if name.casefold() == parameter.name.casefold()]
        for name in names:
            found = self._entry(name, parameter.block)
            if found is not None:
                return found
        return None

    def _entry(self, key: str, block: str) -> Entry | None:
        given = self.overrides.get((key.casefold(), block.casefold()))
        return given if given is not None else self.namelist.get(key, block)

    def _has_block(self, sheet: sheets.Sheet) -> bool:
        return not self.namelist.lines or self._holds_block(sheet)

    def _holds_block(self, sheet: sheets.Sheet) -> bool:
        given = any(block == sheet.block.casefold() for _, block in self.overrides)
        return given or self.namelist.has_block(sheet.block)

    def _validated(self, parameters: tuple[Parameter, ...]) -> Iterator[tuple[str, Value]]:
        for parameter in parameters:
            entry = self.entry(parameter)
            empty = entry is None or entry.value == ""
            if empty:
                text, origin = parameter.default_in(self.pipeline), "default"
            else:
                assert entry is not None
                text, origin = entry.value, entry.origin
            source = (
                entry if entry is not None and not empty else Entry(parameter.name, text, parameter.block)
            )
            yield parameter.name, Value(parameter, self._checked(parameter, source), origin)

    def _checked(self, parameter: Parameter, entry: Entry) -> Any:
        try:
            return convert(parameter, entry.value)
        except ValueError as reason:
            self.problems.append(
                f"{entry.origin or 'default'}: {parameter.full_name} = {entry.value}: {reason}; "
                f"allowed: {parameter.allowed}"
            )
            return None

    def _override(self, key: str, value: str, task: str) -> None:
        block, _, name = key.rpartition(".")
        blocks = _known_blocks()
        if not block and name.casefold() not in _known_globals():
            homes = sorted(b for b, keys in blocks.items() if name.casefold() in keys)
            own = sheets.sheet(task).block.casefold() if task else ""
            if own not in homes:  # a key of a module of a pipeline is not that of a tool that has it too
                homes = [home for home in homes if home not in _tool_blocks()] or homes
            if own in homes:
                block = own
            elif len(homes) == 1:
                block = homes[0]
            elif homes:
                choices = ", ".join(f"{home.upper()}.{name}" for home in homes)
                self.problems.append(f"command line: {key}: several blocks have it; write one of {choices}")
                return
        self.overrides[name.casefold(), block.casefold()] = Entry(name, value, block, "command line")

    def _check_names(self) -> None:
        entries = list(self.namelist.entries) + list(self.overrides.values())
        quiet_keys, quiet_blocks = sheets.legacy()
        known, blocks = _known_globals(), _known_blocks()
        unknown: set[str] = set()
        for entry in entries:
            key, block = entry.key.casefold(), entry.block.casefold()
            if not block:
                self._check_name(entry, key, known, quiet_keys, "")
            elif block in blocks:
                self._check_name(entry, key, blocks[block], quiet_keys, f" in &{entry.block}")
            elif block in quiet_blocks:
                continue
            elif entry.line and block not in unknown:
                unknown.add(block)
                near = suggestion(entry.block, list(blocks) + list(quiet_blocks)).upper()
                near = near.replace("DID YOU MEAN", "did you mean")
                self.problems.append(f"{entry.origin}: &{entry.block}: unknown block{near}")
            elif not entry.line:
                self.problems.append(f"command line: {entry.name}: unknown block")

    def _check_name(
        self, entry: Entry, key: str, known: dict[str, str], quiet: dict[str, str], where: str
    ) -> None:
        if key in known:
            return
        if key in quiet:
            if quiet[key]:
                self.warnings.append(f"{entry.origin}: {entry.name} is not acted on: {quiet[key]}")
            return
        near = suggestion(entry.key, known.values())
        self.problems.append(f"{entry.origin}: {entry.name} = {entry.value}: unknown key{where}{near}")


def convert(parameter: Parameter, text: str) -> Any:
    """Convert the text of a value by the check of its parameter.

    Raises
    ------
    ValueError
        With the reason alone; the caller adds where and what is allowed.
    """
    kind = parameter.kind
    if kind in ("integer", "float"):
        return _number(parameter, text)
    if kind == "switch":
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError("neither on nor off")
        return text.lower() in _TRUE
    if kind == "choice":
        for word in parameter.choices:
            if word.casefold() == text.casefold():
                return word
        raise ValueError("not a choice")
    if kind == "auto_angle":
        return None if text.strip().upper() == "A" else _bounded(_float(text), "-360", "360")
    if kind == "path":
        return os.path.expanduser(text)
    return text


def _number(parameter: Parameter, text: str) -> float | int | None:
    if text in ("", "None"):
        return None
    value = _float(text)
    arguments = sheets._arguments(parameter.check)
    _bounded(value, arguments.get("min"), arguments.get("max"))
    if parameter.kind == "float":
        return value
    if value != int(value):
        raise ValueError("not an integer")
    return int(value)


def _float(text: str) -> float:
    try:
        value = float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        raise ValueError("not a number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _bounded(value: float, low: str | None, high: str | None) -> float:
    if low is not None and value < float(low):
        raise ValueError("too small")
    if high is not None and value > float(high):
        raise ValueError("too large")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return "" if value is None else str(value)


@cache
def _aliases_in(block: str) -> dict[str, str]:
    if not block:
        return sheets.common().aliases
    aliases: dict[str, str] = {}
    for task in sheets.tasks():
        sheet = sheets.sheet(task)
        if sheet.block == block:
            aliases.update(sheet.aliases)
    return aliases


@cache
def _known_globals() -> dict[str, str]:
    known = {p.name.casefold(): p.name for p in sheets.common().own}
    known.update({alias: alias for alias in sheets.common().aliases})
    for task in sheets.tasks():
        known.update({trigger.casefold(): trigger for trigger in sheets.sheet(task).triggers})
    return known


@cache
def _known_blocks() -> dict[str, dict[str, str]]:
    blocks: dict[str, dict[str, str]] = {}
    for task in sheets.tasks():
        sheet = sheets.sheet(task)
        if sheet.block:
            keys = blocks.setdefault(sheet.block.casefold(), {})
            keys.update({p.name.casefold(): p.name for p in sheet.own})
            keys.update({alias: alias for alias in sheet.aliases})
    return blocks


@cache
def _tool_blocks() -> set[str]:
    """Blocks of the tasks that are in no pipeline."""
    chained = {task for pipeline in sheets.PIPELINES for task in sheets.pipeline_tasks(pipeline)}
    used = {sheets.sheet(task).block.casefold() for task in chained}
    return {sheets.sheet(task).block.casefold() for task in sheets.tasks()} - used


_SWITCH = Parameter("trigger", "", "switch()", "0", "", "")
