"""Selection of rows and columns of a table by the conditions of a namelist.

The grammar::

    condition:  and-term { 'or' and-term }
    and-term:   not-term { 'and' not-term }
    not-term:   'not' not-term | '(' condition ')' | comparison
    comparison: operand operator operand { operator operand }
    operator:   < > <= >= = == !=
    operand:    column, number, or text in quotes

References
----------
MOPEX User's Guide, Select.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<name>[A-Za-z_][\w./]*)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<sign><=|>=|==|!=|&&|\|\||[<>=!()])
    )""",
    re.VERBOSE,
)
_WORDS = {"&&": "and", "||": "or", "!": "not"}
_COMPARE: dict[str, Callable] = {
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "=": np.equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_SPELLINGS = {"deblend_id": "blendid", "deblend_size": "blendsize"}  # of the User's Guide
_DEEPEST = 50


@dataclass(frozen=True)
class Operand:
    """A column ('name'), a number or a text."""

    kind: str
    text: str

    def values(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Give its values: of a column an array, else a scalar."""
        if self.kind == "number":
            return np.asarray(float(self.text))
        if self.kind == "text":
            return np.asarray(self.text, dtype=str)
        return np.asarray(columns[find_column(self.text, columns)])


@dataclass(frozen=True)
class Comparison:
    """Two operands and what is between them."""

    left: Operand
    operator: str
    right: Operand

    def rows(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Find the rows that fulfil it; what is not a number fulfils none."""
        left, right = self.left.values(columns), self.right.values(columns)
        texts = [side.dtype.kind in "US" for side in (left, right)]
        if texts[0] != texts[1]:
            text, other = (self.left, self.right) if texts[0] else (self.right, self.left)
            raise ValueError(f"{text.text} is text and cannot be compared with {other.text}, a number")
        found = _COMPARE[self.operator](left, right)
        if not any(texts):
            found = found & ~np.isnan(left) & ~np.isnan(right)
        return found


@dataclass(frozen=True)
class Junction:
    """Parts joined by 'and' or 'or', or one part after 'not'."""

    word: str
    parts: tuple[Condition, ...]

    def rows(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Find the rows that fulfil it."""
        found = [part.rows(columns) for part in self.parts]
        if self.word == "not":
            return ~found[0]
        return np.logical_and.reduce(found) if self.word == "and" else np.logical_or.reduce(found)


Condition = Comparison | Junction


@dataclass(frozen=True)
class Clause:
    """A part of a condition that is joined to the others by 'and', with its text."""

    text: str
    condition: Condition


@dataclass(frozen=True)
class Selection:
    """The rows that fulfil a condition.

    Parameters
    ----------
    rows : ndarray of bool, shape (n,)
        True for a row to keep.
    counts : list of (text, alone, together)
        For each clause its text, the number of rows that fulfil it, and the number that fulfil it and those before.
    """

    rows: np.ndarray
    counts: list[tuple[str, int, int]]


def parse_condition(text: str) -> tuple[Clause, ...]:
    """Read a condition.

    Parameters
    ----------
    text : str
        Comparisons joined by ``and``, ``or``, ``not`` and parentheses, such as ``SNR > 5 and chi2/dof < 3``.

    Returns
    -------
    tuple of Clause
        The clauses, all of which a row has to fulfil; none for an empty text.

    Raises
    ------
    ValueError
        The text is no condition; the message says where.

    References
    ----------
    MOPEX User's Guide, Select.
    """
    parser = _Parser(_unquoted(text))
    return tuple(parser.clauses()) if parser.tokens else ()


def select(conditions: str, columns: Mapping[str, np.ndarray]) -> Selection:
    """Find the rows of a table that fulfil a condition.

    Parameters
    ----------
    conditions : str
        See `parse_condition`; empty keeps all rows.
    columns : mapping of str to ndarray, shape (n,)
        The table; case of the names does not matter.

    Raises
    ------
    ValueError
        The condition cannot be read, names a column that is not there, or compares text with numbers.
    """
    n = len(next(iter(columns.values()), ()))
    rows, counts = np.ones(n, dtype=bool), []
    for clause in parse_condition(conditions):
        found = np.broadcast_to(clause.condition.rows(columns), n)
        rows = rows & found
        counts.append((clause.text, int(found.sum()), int(rows.sum())))
    return Selection(rows, counts)


def parse_columns(text: str, available: Sequence[str]) -> list[str]:
    """Read a list of columns.

    Parameters
    ----------
    text : str
        Names between commas or blanks; case does not matter. Empty means all.
    available : sequence of str
        Names of the table.

    Returns
    -------
    list of str
        Names as the table has them, in the order given, each once.

    Raises
    ------
    ValueError
        A name is not in the table.
    """
    names = re.split(r"[\s,]+", text.replace('"', " ").replace("'", " ").strip(" \t\r\n,"))
    if names == [""]:
        return list(available)
    return list(dict.fromkeys(find_column(name, available) for name in names))


def find_column(name: str, available: Mapping[str, object] | Sequence[str]) -> str:
    """Find the name of a column as the table has it.

    Raises
    ------
    ValueError
        There is none; the message names what looks alike, or all columns.
    """
    if name in available:
        return name
    by_case = {known.casefold(): known for known in available}
    same = name.casefold()
    for spelling in (same, _SPELLINGS.get(same, same)):
        if spelling in by_case:
            return by_case[spelling]
    close = [by_case[word] for word in get_close_matches(same, by_case, n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(close)}?" if close else f"the columns are {', '.join(available)}"
    raise ValueError(f"no column {name}; {hint}")


def _unquoted(text: str) -> str:
    """Take quotes off that enclose the whole condition."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The token as a word of the grammar."""
        return "" if self.kind in ("text", "number") else _WORDS.get(self.text, self.text).casefold()


def _tokens(text: str) -> Iterator[_Token]:
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"cannot read {text[at:].strip()[:20]!r}")
        kind = str(match.lastgroup)
        yield _Token(kind, match[kind], match.start(kind), match.end())
        at = match.end()


class _Parser:
    """Recursive descent through the tokens of a condition."""

    def __init__(self, text: str):
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.depth = 0

    @property
    def word(self) -> str:
        """The word of the grammar that comes next, if it is one."""
        return self.tokens[self.at].word if self.at < len(self.tokens) else ""

    def found(self) -> str:
        """Say what comes next, for a message."""
        if self.at < len(self.tokens):
            return repr(self.tokens[self.at].text)
        return "the end"

    def clauses(self) -> list[Clause]:
        """Read all; a condition that is not joined by 'and' is one clause."""
        parts, ends = self.joined("and", self.negated)
        if self.word == "or":
            self.at = 0
            whole = self.condition()
            parts, ends = [whole], [(0, self.at)]
        if self.at < len(self.tokens):
            raise ValueError(f"'and' or 'or' expected, {self.found()} found")
        return [Clause(self.between(*end), part) for part, end in zip(parts, ends, strict=True)]

    def between(self, first: int, last: int) -> str:
        """Give the text of some tokens."""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end]

    def joined(
        self, word: str, read: Callable[[], Condition]
    ) -> tuple[list[Condition], list[tuple[int, int]]]:
        """Read parts with a word between them; gives them with the places of their tokens."""
        parts, ends = [], []
        while True:
            start = self.at
            parts.append(read())
            ends.append((start, self.at))
            if self.word != word:
                return parts, ends
            self.at += 1

    def condition(self) -> Condition:
        """Read parts joined by 'or'."""
        parts, _ = self.joined("or", self.conjunction)
        return parts[0] if len(parts) == 1 else Junction("or", tuple(parts))

    def conjunction(self) -> Condition:
        """Read parts joined by 'and'."""
        parts, _ = self.joined("and", self.negated)
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def negated(self) -> Condition:
        """Read 'not' and its part, a condition in parentheses, or a comparison."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"parentheses are nested more than {_DEEPEST} deep")
        word = self.word
        if word in ("not", "("):
            self.at += 1
            part = Junction("not", (self.negated(),)) if word == "not" else self.enclosed()
        else:
            part = self.comparison()
        self.depth -= 1
        return part

    def enclosed(self) -> Condition:
        """Read up to the closing parenthesis."""
        part = self.condition()
        if self.word != ")":
            raise ValueError(f"')' expected, {self.found()} found")
        self.at += 1
        return part

    def comparison(self) -> Condition:
        """Read a comparison, or a chain of them such as 5 < SNR < 10."""
        left, parts = self.operand(), []
        while self.word in _COMPARE:
            operator = self.word
            self.at += 1
            right = self.operand()
            parts.append(Comparison(left, operator, right))
            left = right
        if not parts:
            raise ValueError(
                f"a comparison (<, >, <=, >=, ==, !=) expected behind {left.text}, {self.found()} found"
            )
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def operand(self) -> Operand:
        """Read a column, a number or a text."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token is None or token.kind == "sign" or token.word in ("and", "or", "not"):
            raise ValueError(f"a column or a number expected, {self.found()} found")
        self.at += 1
        return Operand(token.kind, token.text[1:-1] if token.kind == "text" else token.text)
