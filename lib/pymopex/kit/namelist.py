"""Legacy namelists: globals, triggers, and blocks from ``&NAME`` to ``&END``.

A `Namelist` keeps every line it was read from, so that writing it gives the same file again, with
changed values in their old places. Each value knows its file and line.

Notes
-----
Keys and block names are compared without regard to case. A key given twice takes its last value, as
in a file edited by appending. Text after a ``#`` that follows a blank is a comment, unless quoted.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pymopex.kit.errors import InputError, InputErrors

METADATA = "###-Meta-Data-###:"
_ASSIGNMENT = re.compile(r"^(\s*)([A-Za-z_][\w./-]*)(\s*=[ \t]*)((?:.*[^ \t])?)([ \t]*)$")


@dataclass(frozen=True)
class Entry:
    """One value: its key as written, the block it stands in ('' = global), and where it was read.

    ``line`` is 1-based; 0 means that the value does not come from a file (``source`` tells).
    """

    key: str
    value: str
    block: str = ""
    source: str = ""
    line: int = 0

    @cached_property
    def place(self) -> tuple[str, str]:
        """Key and block as they are compared: case does not matter."""
        return self.key.casefold(), self.block.casefold()

    @property
    def name(self) -> str:
        """`BLOCK.KEY`, or the bare key of a global."""
        return f"{self.block}.{self.key}" if self.block else self.key

    @property
    def origin(self) -> str:
        """`file:line`, or the source alone."""
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass
class Namelist:
    """A namelist in memory; see `read` and `parse`."""

    path: str = "namelist"
    lines: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    blocks: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def get(self, key: str, block: str = "") -> Entry | None:
        """Give the last value of `key` in `block`, or None."""
        wanted = (key.casefold(), block.casefold())
        for entry in reversed(self.entries):
            if entry.place == wanted:
                return entry
        return None

    def has_block(self, block: str) -> bool:
        """Tell whether ``&BLOCK`` stands in the file."""
        return block.casefold() in (name.casefold() for name in self.blocks)

    def set(self, key: str, value: str, block: str = "") -> None:
        """Change a value in its place, or add it (a global after the last one, else in its block)."""
        old = self.get(key, block)
        if old is not None:
            self._replace(old, value)
        else:
            self._insert(key, value, block)

    def text(self) -> str:
        """Give the whole file."""
        return "".join(self.lines)

    def _replace(self, old: Entry, value: str) -> None:
        line = self.lines[old.line - 1]
        body = line.rstrip("\r\n")
        match = _ASSIGNMENT.match(body)
        assert match is not None
        _, span = _value(match[4])
        start = match.start(4)
        tail = body[start + span :]
        head = body[:start]
        if not match[4][:span]:  # an empty value: the blanks behind '=' may lead to a comment
            head = body[: match.start(3)] + match[3].rstrip() + (" " if value else "")
            tail = tail if not tail.startswith("#") else max(1, start - len(head) - len(value)) * " " + tail
        elif value and not head.endswith((" ", "\t")):
            head += " "
        self.lines[old.line - 1] = head + value + tail + line[len(body) :]
        self.entries[self.entries.index(old)] = Entry(
            old.key, _unquote(value), old.block, self.path, old.line
        )

    def _insert(self, key: str, value: str, block: str) -> None:
        if block and not self.has_block(block):
            at = self._end_of_content()
            self._add_lines(at, [f"&{block}\n", "&END\n"])
        if block:
            name = next(b for b in self.blocks if b.casefold() == block.casefold())
            at = self.blocks[name]
            self._add_lines(at, [f"{key} = {value},\n"])
        else:
            last = max((e.line for e in self.entries if not e.block), default=0)
            self._add_lines(last, [f"{key} = {value}\n"])

    def _end_of_content(self) -> int:
        at = len(self.lines)
        while at and self.lines[at - 1].strip().upper() in ("", "#END"):
            at -= 1
        return at

    def _add_lines(self, at: int, new: list[str]) -> None:
        if at and not self.lines[at - 1].endswith("\n"):
            self.lines[at - 1] += "\n"
        again = parse("".join(self.lines[:at] + new + self.lines[at:]), self.path)
        self.__dict__.update(again.__dict__)


def read(path: str) -> Namelist:
    """Read a namelist.

    Raises
    ------
    InputError
        If the file cannot be read, or has lines that are not of the grammar (all of them named).
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as problem:
        raise InputError(f"{path}: cannot read the namelist: {problem.strerror}") from None
    if "\0" in text:
        raise InputError(f"{path}: not a namelist: the file holds binary data")
    return parse(text, path)


def parse(text: str, path: str = "namelist") -> Namelist:
    """Parse the text of a namelist; `path` is the name used in messages."""
    result = Namelist(path, _split_lines(text))
    problems: list[str] = []
    block, opened = "", 0
    for number, line in enumerate(result.lines, 1):
        body = line.strip()
        where = f"{path}:{number}"
        if body.startswith(METADATA):
            key, _, value = body[len(METADATA) :].partition("=")
            result.metadata[key.strip()] = value.strip()
        elif not body or body.startswith("#"):
            continue
        elif body.startswith("&"):
            name = body[1:].split("#")[0].strip().rstrip(",")
            block, opened = _turn(result, name, block, number, where, problems, opened)
        else:
            _take(result, line, block, number, where, problems)
    if block:
        problems.append(f"{path}:{opened}: &{block} has no &END")
    if problems:
        raise InputErrors(problems)
    return result


def find(name: str) -> str:
    """Find a namelist: as given, else in ``cdf/`` (or ``$SIRTF_CDF``) below the working directory.

    Raises
    ------
    InputError
        If it is in neither place.
    """
    folder = os.environ.get("SIRTF_CDF", "cdf")
    for candidate in (name, os.path.join(folder, name)):
        if os.path.isfile(candidate):
            return candidate
    raise InputError(f"{name}: no such namelist, neither here nor in {folder}/")


def _split_lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _turn(
    result: Namelist, name: str, block: str, number: int, where: str, problems: list[str], opened: int
) -> tuple[str, int]:
    """Open or close a block."""
    if name.upper() == "END":
        if not block:
            problems.append(f"{where}: &END without a block")
        return "", 0
    if block:
        problems.append(f"{where}: &{name} opens before &END of &{block} (line {opened})")
    if not re.fullmatch(r"\w+", name):
        problems.append(f"{where}: '&{name}' is not the name of a block")
    result.blocks[name] = number
    return name, number


def _take(result: Namelist, line: str, block: str, number: int, where: str, problems: list[str]) -> None:
    """Read one assignment."""
    match = _ASSIGNMENT.match(line.rstrip("\r\n"))
    if match is None:
        problems.append(f"{where}: '{line.strip()}' is neither KEY = value, &BLOCK, &END nor a # comment")
        return
    value, _ = _value(match[4])
    result.entries.append(Entry(match[2], _unquote(value), block, result.path, number))


def _value(text: str) -> tuple[str, int]:
    """Split the right side of an assignment: the value (quotes kept) and its length in the text."""
    if text[:1] in ("'", '"'):
        close = text.find(text[0], 1)
        if close > 0:
            return text[: close + 1], close + 1
    bare = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
    while bare != (shorter := bare.rstrip().rstrip(",")):  # a pattern would take the square of the blanks
        bare = shorter
    return bare, len(bare)


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
        value = value[1:-1]
    return value.strip()
