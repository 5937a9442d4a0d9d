"""Parameter sheets: what each task takes, declared once in ``par/TASK.spec``.

A sheet is a ConfigObj configspec. ``[task]`` says what the module is; ``[globals]`` names the shared keys it
uses (declared in ``par/common.spec``); ``[block]`` declares its own parameters, one line each: check, default
and ``# [unit] meaning``. A section named after a pipeline holds the defaults that differ there.
``[aliases]`` maps other spellings to the declared one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from pymopex.kit.errors import TaskFailed

PIPELINES = (
    "flatfield",
    "hdr_mask",
    "pointingrefine",
    "artifacts",
    "overlap",
    "mosaic",
    "apex",
    "apex_user_list",
    "apex_1frame",
    "apex_user_list_1frame",
    "apex_qa",
    "prf_estimate",
)
"""All pipelines; in a flow, one gets the products of those before it in this order."""
FLOW = ("overlap", "mosaic", "apex", "apex_qa")
"""From frames to a catalogue and a residual mosaic."""
SINGLE = ("apex_1frame", "apex_user_list_1frame")
"""Pipelines that work on one image."""
EITHER = ("prf_estimate",)
"""Pipelines that work on one image or on a list of frames, whichever is given."""
USER_LIST = ("apex_user_list", "apex_user_list_1frame")
"""Pipelines that get their positions from a list, in place of a detection."""
_NUMBER = {"integer": "integer", "float": "number"}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter; ``kind`` is the name of its check and ``default`` the text of its default."""

    name: str
    block: str
    check: str
    default: str
    unit: str
    meaning: str
    by_pipeline: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def kind(self) -> str:
        """Name of the check: integer, float, switch, choice, path, text, ..."""
        return self.check.split("(")[0]

    @property
    def full_name(self) -> str:
        """`BLOCK.KEY`, or the bare key of a global."""
        return f"{self.block}.{self.name}" if self.block else self.name

    def default_in(self, pipeline: str) -> str:
        """Give the default in a pipeline."""
        return self.by_pipeline.get(pipeline, self.default).replace("{pipeline}", pipeline)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from; none for another kind."""
        return tuple(_words(self.check)) if self.kind == "choice" else ()

    @property
    def allowed(self) -> str:
        """The allowed range, in words."""
        arguments = _arguments(self.check)
        low, high = arguments.get("min"), arguments.get("max")
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "switch":
            return "0 or 1"
        if self.kind == "auto_angle":
            return "A, or a number of degrees from -360 to 360"
        if self.kind not in _NUMBER:
            return {"path": "a file", "directory": "a directory"}.get(self.kind, "text")
        noun = {"integer": "an integer", "float": "a number"}[self.kind]
        empty = " or empty" if self.default == "None" else ""
        if low is not None and high is not None:
            return f"{noun} from {low} to {high}{empty}"
        if low is not None or high is not None:
            return noun + (f" of at least {low}" if low is not None else f" of at most {high}") + empty
        return noun + empty


@dataclass(frozen=True)
class Sheet:
    """What one task is and takes."""

    task: str
    title: str
    purpose: str
    triggers: tuple[str, ...]
    block: str
    block_required: bool
    uses: tuple[str, ...]
    own: tuple[Parameter, ...]
    aliases: dict[str, str] = field(hash=False)
    needs: tuple[str, ...] = ()
    always: bool = False
    unless: tuple[str, ...] = ()
    with_block: bool = False
    tool: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Shared keys, then the parameters of the block."""
        shared = common().parameters_by_name
        return tuple(shared[name.casefold()] for name in self.uses) + self.own


@dataclass(frozen=True)
class Common:
    """The global keys shared by tasks, and what is known of legacy keys that no task acts on."""

    own: tuple[Parameter, ...]
    aliases: dict[str, str] = field(hash=False)

    @property
    def parameters_by_name(self) -> dict[str, Parameter]:
        """Declared globals by their case-folded name."""
        return {parameter.name.casefold(): parameter for parameter in self.own}


@cache
def tasks() -> tuple[str, ...]:
    """Names of all tasks, in alphabetical order: the sheets of ``par/`` that have a ``[task]`` section."""
    names = (entry.name for entry in resources.files("pymopex.par").iterdir())
    specs = sorted(name[:-5] for name in names if name.endswith(".spec"))
    return tuple(name for name in specs if name not in ("common", "legacy"))


@cache
def sheet(task: str) -> Sheet:
    """Read the sheet of a task.

    Raises
    ------
    KeyError
        If there is no such task.
    """
    if task not in tasks():
        raise KeyError(task)
    spec = _spec(task)
    about = spec["task"]
    uses = _split(spec.get("globals", {}).get("use", ""))
    block = about.get("block", "")
    return Sheet(
        task=task,
        title=about["title"],
        purpose=about["purpose"],
        triggers=_split(about.get("triggers", "")),
        block=block,
        block_required=about.get("block_required", "yes") == "yes",
        uses=uses,
        own=_parameters(spec, "block", block),
        aliases={k.casefold(): v for k, v in spec.get("aliases", {}).items()},
        needs=_split(about.get("needs", "")),
        always=about.get("always", "no") == "yes",
        unless=_split(about.get("unless", "")),
        with_block=about.get("with_block", "no") == "yes",
        tool=about.get("tool", "no") == "yes",
    )


@cache
def pipeline_tasks(pipeline: str) -> tuple[str, ...]:
    """Give the ordered tasks of a pipeline, which its shell driver holds.

    Raises
    ------
    TaskFailed
        The driver holds no list.
    """
    text = resources.files("pymopex.scripts").joinpath(f"{pipeline}.sh").read_text(encoding="utf-8")
    match = re.search(r'^tasks="([^"]*)"', text, re.MULTILINE)
    if match is None:
        raise TaskFailed(f"{pipeline}.sh: holds no list of tasks")
    return tuple(match[1].split())


@cache
def common() -> Common:
    """Read the sheet of the shared global keys."""
    spec = _spec("common")
    aliases = {k.casefold(): v for k, v in spec["aliases"].items()}
    return Common(_parameters(spec, "globals", ""), aliases)


@cache
def legacy() -> tuple[dict[str, str], dict[str, str]]:
    """Keys and blocks of legacy MOPEX that no task acts on, by case-folded name, with the reason."""
    spec = _spec("legacy")
    fold = lambda section: {k.casefold(): v for k, v in spec[section].items()}  # noqa: E731
    return fold("keys"), fold("blocks")


@cache
def legacy_keys() -> dict[str, tuple[str, ...]]:
    """Keys that namelists of legacy MOPEX hold, by block; those without a block under ``globals``."""
    return {block: _split(names) for block, names in _spec("legacy")["known"].items()}


@cache
def legacy_section(name: str) -> dict[str, str]:
    """Give what became of legacy commands (``scripts``) or files (``products``), by name."""
    return dict(_spec("legacy")[name])


@cache
def without_legacy(what: str) -> tuple[str, ...]:
    """Give the ``pipelines``, or ``modules``, that legacy MOPEX did not have."""
    return _split(_spec("legacy")["new"][what])


def _spec(name: str):
    from configobj import ConfigObj

    text = resources.files("pymopex.par").joinpath(f"{name}.spec").read_text(encoding="utf-8")
    return ConfigObj(text.splitlines(), list_values=False, interpolation=False, encoding="utf-8")


def _parameters(spec: Any, section: str, block: str) -> tuple[Parameter, ...]:
    found = []
    body = spec.get(section, {})
    for name in body:
        if name == "use":
            continue
        check = body[name]
        note = body.inline_comments.get(name) or ""
        unit, meaning = _unit(note)
        changed = {p: spec[p][name] for p in PIPELINES if p in spec and name in spec[p]}
        default = _arguments(check).get("default", "")
        found.append(Parameter(name, block, _without_default(check), default, unit, meaning, changed))
    return tuple(found)


def _unit(note: str) -> tuple[str, str]:
    note = note.strip().lstrip("#").strip()
    match = re.match(r"\[([^\]]*)\]\s*(.*)", note)
    return (match[1], match[2]) if match else ("", note)


def _pieces(check: str) -> list[str]:
    inside = re.search(r"\((.*)\)\s*$", check)
    return re.findall(r"(?:'[^']*'|[^,])+", inside[1]) if inside else []


def _arguments(check: str) -> dict[str, str]:
    """Give the named arguments of a check."""
    pairs = (piece.strip().partition("=") for piece in _pieces(check) if "=" in piece)
    return {key.strip(): value.strip().strip("'") for key, _, value in pairs}


def _words(check: str) -> list[str]:
    return [piece.strip().strip("'") for piece in _pieces(check) if "=" not in piece]


def _without_default(check: str) -> str:
    kept = [piece.strip() for piece in _pieces(check) if not piece.strip().startswith("default")]
    return f"{check.split('(')[0].strip()}({', '.join(kept)})"


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def with_default(parameter: Parameter, value: str) -> Parameter:
    """Give the same parameter with another default in every pipeline (for templates)."""
    return replace(parameter, default=value, by_pipeline={})
