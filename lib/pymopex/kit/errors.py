"""What a user is told when something is wrong, and the exit status that goes with it."""

from __future__ import annotations

from collections.abc import Iterable

EXIT_DONE, EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143


class InputError(Exception):
    """A user's mistake: shown without a traceback, exit status 2."""


class InputErrors(InputError):
    """Several mistakes, found before work started and reported together.

    Parameters
    ----------
    problems : iterable of str
        One line each, with file, line, parameter and what would be right.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = list(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputErrors], tuple[list[str]]]:
        return type(self), (self.problems,)


class TaskFailed(Exception):
    """Work that could not be done for a reason a traceback would not explain: exit status 1."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): exit status 143."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give `` (did you mean X?)`` for the known word that looks most like `word`, or nothing."""
    from difflib import get_close_matches

    by_case = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_case, n=1, cutoff=0.7)
    return f" (did you mean {by_case[close[0]]}?)" if close else ""
