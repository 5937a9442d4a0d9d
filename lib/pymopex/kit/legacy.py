"""Legacy commands by their names: which command of the suite each is, and how its words are put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pymopex.kit.errors import InputErrors


@dataclass(frozen=True)
class Tool:
    """A legacy command that takes no namelist.

    Parameters
    ----------
    task : str
        The task that does its work.
    flags : dict of str to (str, str)
        Letter of a flag, the key that it sets, and what its value is.
    places : tuple of (str, str)
        The same of the words without a flag, in order.
    """

    task: str
    flags: dict[str, tuple[str, str]] = field(default_factory=dict)
    places: tuple[tuple[str, str], ...] = ()

    def usage(self, name: str) -> str:
        """Give the line that tells how it is called."""
        words = [f"-{flag} {what.upper()}" for flag, (_, what) in self.flags.items()]
        return " ".join(
            [f"usage: {name}", *words, *(what.upper() for _, what in self.places), "[KEY=VALUE ...]"]
        )


TOOLS = {
    "HDR_Split.pl": Tool("hdr_split", places=(("IMAGE_STACK_FILE_NAME", "image_list"),)),
    "copy_HDR_keywords.pl": Tool(
        "copy_hdr_keywords",
        places=(("IMAGE_STACK_FILE_NAME", "image_list"), ("DCE_STATUS_MASK_LIST", "mask_list")),
    ),
    "mosaic_combine": Tool(
        "mosaic_combine",
        {
            "o": ("Combined_Image", "image"),
            "f": ("FIF_FILE_NAME", "fif_table"),
            "g": ("Tile_List", "tile_list"),
        },
    ),
}
"""Legacy commands that are one task, by the names under which they are installed."""


def usages(task: str) -> list[str]:
    """Tell how the legacy commands that are a task are called."""
    return [tool.usage(name).removeprefix("usage: ") for name, tool in TOOLS.items() if tool.task == task]


SAME = {"pointing_refine.pl": "pointingrefine.pl"}
"""Other names of a command."""


def command(name: str, words: Sequence[str]) -> list[str]:
    """Give the words of the command of the suite that a legacy command means.

    Parameters
    ----------
    name : str
        The name under which it was called, such as ``overlap.pl``.
    words : sequence of str
        Its words.

    Raises
    ------
    InputErrors
        With every word that is not understood, or missing.
    """
    name = SAME.get(name, name)
    tool = TOOLS.get(name)
    if tool is None:
        return ["drive", name.removesuffix(".pl"), *words]
    if any(word in ("-h", "--help") for word in words):
        return [tool.task, "--help"]
    return [tool.task, *_translated(name, tool, list(words))]


def _translated(name: str, tool: Tool, rest: list[str]) -> list[str]:
    """Put flags, their values apart or glued on, and places as ``KEY=VALUE``."""
    found: list[str] = []
    problems: list[str] = []
    places = list(tool.places)
    given: set[str] = set()
    while rest:
        word = rest.pop(0)
        if word[:1] == "-" and word[1:2] in tool.flags:
            key, what = tool.flags[word[1]]
            value = word[2:] or (rest.pop(0) if rest else "")
            given.add(word[1])
            if not value:
                problems.append(f"{word}: needs a value ({what})")
            found.append(f"{key}={value}")
        elif word[:1] == "-":
            known = " ".join(f"-{flag}" for flag in tool.flags)
            problems.append(f"{word}: unknown flag{f'; known are {known}' if known else ''}")
        elif places:
            found.append(f"{places.pop(0)[0]}={word}")
        elif "=" in word:
            found.append(word)
        else:
            problems.append(f"{word}: one word too many")
    problems += [f"{what} is missing" for _, what in places]
    problems += [f"-{flag} {what} is missing" for flag, (_, what) in tool.flags.items() if flag not in given]
    if problems:
        raise InputErrors([f"{name}: {text}" for text in problems] + [tool.usage(name)])
    return found
