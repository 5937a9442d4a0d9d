"""What is done of a pipeline, and whether it still holds: what ``--resume`` goes by.

``progress_PIPELINE.jsonl`` of an output directory has one line for each event of the last run: its start with the
state of its inputs, the beginning and the end of each module with its parameters and the state of its products, and
the files that were removed in the end. A line that a kill cut short is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymopex import __version__
from pymopex.kit import log, sheets
from pymopex.kit.errors import InputError, TaskFailed
from pymopex.kit.file_states import State, digest, files_of, named, place, stamp
from pymopex.kit.files import reason_of, whole
from pymopex.kit.stages import CHANGES

if TYPE_CHECKING:
    from pymopex.kit.parameters import Params
    from pymopex.kit.task import Run

_INDIFFERENT = {
    *("do_multiprocess", "ncpu_multiprocess", "create_report", "OUTPUT_DIR"),
    *("delete_intermediate_files", "delete_intermediate_files_array_corr", "keep_coadded_tiles"),
    "save_zodiacal_subtracted_images",
}
"""Keys that change no product."""
_NAMED = 20  # files that a message names at most


class Progress:
    """The progress of one pipeline in its output directory.

    Parameters
    ----------
    run : Run
        The pipeline.
    wanted : list of str
        Its modules that are to run, in order.
    """

    def __init__(self, run: Run, wanted: list[str]):
        self.run, self.wanted = run, wanted
        self.path = path_of(run.globals.OUTPUT_DIR, run.pipeline)
        self._top = os.path.abspath(run.globals.OUTPUT_DIR)
        self.inputs: dict[str, State] = {}
        self._readers: dict[str, int] = {}
        self._tables: set[str] = set()
        self._namelist = digest(run.settings.namelist.path)
        self._fresh = False

    def skipped(self) -> tuple[int, str]:
        """Tell how many of the modules are done and hold, and why the next has to run."""
        events = list(_events(self.path))
        start = next((event for event in events if event["event"] == "start"), None)
        if start is None:
            return 0, "no record of it is left, or what comes before it ran again"
        if start["version"] != __version__:
            return 0, f"the products are those of pymopex {start['version']}, and this is {__version__}"
        self.look()
        done = [event for event in events if event["event"] == "done"][: len(self.wanted)]
        begun = next((e for e in reversed(events) if e["event"] in ("begin", "done", "finish")), start)
        cut = begun if begun["event"] == "begin" else {"task": "", "changes": []}
        removed = {name for event in events if event["event"] == "remove" for name in event["files"]}
        ledger, again = _ledger(self.run, done)
        count, why = min(
            self._of_modules(start, done, str(cut["task"])),
            self._of_inputs(start, ledger, set(cut["changes"])),
            self._of_products(done, ledger, removed, again),
            key=lambda found: found[0],
        )
        if count and done[count - 1]["ended"]:
            self.run.ended = done[count - 1]["ended"]
            return len(self.wanted), ""
        for event in events:
            if event["event"] == "begin" and event["changes"] and event["task"] in self.wanted[count + 1 :]:
                log.say(
                    f"Warning: {event['task']} has changed inputs in their place before, and they stay as they are"
                )
        if count < len(self.wanted) and any(self._stamp(name) is None for name in removed):
            return 0, f"{why}; and what it needs has been deleted (delete_intermediate_files)"
        return count, why

    def _of_modules(self, start: dict, done: list[dict], cut: str) -> tuple[int, str]:
        """Give the first module that was not run, or not as it would be now."""
        known = _values(self.run.globals)
        declared = {name for task in self.wanted for name in _values(self.run.params_of(task))}
        for name, value in known.items():
            if name not in declared | _INDIFFERENT and start["globals"].get(name) != value:
                return 0, f"{name} was {start['globals'].get(name)}, and is {value}"
        if start["stages"] != self._stages():
            return 0, "other modules change the frames"
        for number, task in enumerate(self.wanted):
            if number >= len(done):
                return number, f"{task} was cut in the middle" if cut == task else f"{task} was not reached"
            before = done[number]
            if before["task"] != task:
                return number, f"{before['task']} ran in its place"
            for name, value in _values(self.run.params_of(task)).items():
                if name not in _INDIFFERENT and before["parameters"].get(name) != value:
                    return number, f"{name} was {before['parameters'].get(name)}, and is {value}"
            if before["ended"]:
                return number + 1, ""
        return len(self.wanted), ""

    def _of_inputs(self, start: dict, ledger: dict[str, State], changes: set[str]) -> tuple[int, str]:
        """Give the first module that reads a file which is not what it was; modules may change files themselves."""
        first, why = len(self.wanted), ""
        for name, state in self.inputs.items():
            own = name in ledger and self._stamp(name) == ledger[name]
            same = own or state == start["inputs"].get(name)
            if not same and name in changes and self._refines_again:
                raise InputError(
                    f"{self._shown(name)}: its refined pointing was being refined again when the run was cut, which "
                    "cannot be resumed; put the frames back as they were, and run without --resume"
                )
            if not same and name not in changes and self._readers[name] < first:
                first, why = self._readers[name], f"{self._shown(name)} has changed"
        return first, why

    def _of_products(
        self, done: list[dict], ledger: dict[str, State], removed: set[str], cut: str
    ) -> tuple[int, str]:
        """Give the first module whose products are not what they were; those written again later count as later."""
        for number, event in enumerate(done):
            for name in event["products"]:
                state = self._stamp(name)
                if state is None and name not in removed:
                    return number, f"{self._shown(name)} is missing"
                if state is not None and state != ledger[name] and event["task"] != cut:
                    return number, f"{self._shown(name)} has changed"
        return len(self.wanted), ""

    def start(self, kept: int = 0) -> None:
        """Begin to write down the progress, behind the modules that are kept as they are."""
        self.look()
        events = list(_events(self.path))
        done = [event for event in events if event["event"] == "done"][:kept]
        before: dict[str, State] = next(
            (event["inputs"] for event in events if kept and event["event"] == "start"), {}
        )
        # A module that was cut may have changed inputs of those before it: these count as they were then.
        finished = {event["task"] for event in events if event["event"] == "done"}
        begun = [event for event in events if event["event"] == "begin" and event["changes"]]
        cut = [event for event in begun if event["task"] not in finished][-1:]
        changes = {name for event in begun for name in event["changes"]}
        inputs = {
            name: before.get(name, state) if name in changes else state for name, state in self.inputs.items()
        }
        self.inputs = inputs
        first = {
            "event": "start",
            "version": __version__,
            "globals": _values(self.run.globals),
            "stages": self._stages(),
            "inputs": inputs,
        }
        with whole(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            for event in (first, *done, *(cut if kept else [])):
                file.write(_line(event))
        for event in done:
            self._own(event["products"])

    def begin(self, task: str) -> None:
        """Write down that a module begins; what later pipelines made of its products no longer holds."""
        if not self._fresh:
            forget_later(self.run)
            self._fresh = True
        self._add({"event": "begin", "task": task, "changes": list(named(self._in_place(task), self._top))})

    def end(self, task: str) -> None:
        """Write down that a module is done, and what it made."""
        products = {name: self._stamp(name) for name in named(self.run.made, self._top)}
        self._own(products)
        self._add(
            {
                "event": "done",
                "task": task,
                "ended": self.run.ended,
                "parameters": _values(self.run.params_of(task)),
                "products": products,
            }
        )

    def follows(self, kept: int) -> bool:
        """Tell whether the first of the modules are done, whatever became of their products."""
        done = [event["task"] for event in _events(self.path) if event["event"] == "done"]
        return done[:kept] == self.wanted[:kept]

    def finish(self) -> None:
        """Write down that all is done."""
        self._add({"event": "finish"})

    @property
    def to_remove(self) -> list[str]:
        """Files that the run has begun to remove."""
        found = (event["files"] for event in _events(self.path) if event["event"] == "remove")
        return [place(name, self._top) for names in found for name in names]

    @property
    def finished(self) -> bool:
        """Whether all was done."""
        return any(event["event"] == "finish" for event in _events(self.path))

    def check_inputs(self) -> None:
        """Compare the inputs with what they were at the start.

        Raises
        ------
        TaskFailed
            Some have changed; nothing of the pipeline is taken for done then.
        """
        changed = [self._shown(name) for name, state in self.inputs.items() if self._state(name) != state]
        output, namelist = self.run.globals.OUTPUT_DIR, self.run.settings.namelist.path
        if changed:
            forget(output, self.run.pipeline)
            more = [f"and {len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
            named = [f"{name}: has changed during the run" for name in changed[:_NAMED]]
            last = (
                f"the products of {self.run.pipeline} in {output} are of mixed inputs and not to be trusted"
            )
            raise TaskFailed("\n".join([*named, *more, f"{last}; run it again"]))
        if digest(namelist) != self._namelist:
            raise TaskFailed(
                f"{namelist}: has changed during the run, and the products are those of its values before, which "
                f"{output} has a copy with; with --resume the modules run again that depend on the changes"
            )

    @property
    def _refines_again(self) -> bool:
        """Whether Pointing Refine starts from what it writes itself."""
        return self.run.pipeline == "pointingrefine" and bool(self.run.globals.USE_REFINED_POINTING)

    def _stages(self) -> list[str]:
        return [task for task in self.wanted if task in CHANGES]

    def _own(self, products: dict[str, State]) -> None:
        """Take over the state of inputs that a module has written itself."""
        for name in products.keys() & self.inputs.keys():
            self.inputs[name] = self._state(name)

    def _in_place(self, task: str) -> Iterator[str]:
        """Give the inputs that a module changes in their place."""
        self.run.task = task
        if task == "detect_radhit" and self.run.globals.overwrite_dmask:
            yield from (files.dmask for files in self.run.frames() if files.dmask)
        if task == "pointingrefine" and self.run.params_of(task).Update_Headers:
            yield from (files.image for files in self.run.frames())

    def look(self) -> None:
        """Find the files that the modules read and none of them makes, their state, and who reads each first."""
        if self.inputs:
            return
        seen: set[tuple[str, str]] = set()
        for number, task in enumerate(self.wanted):
            for value in self.run.params_of(task):
                key = value.parameter.name, str(value.value or "")
                if value.parameter.kind != "path" or not key[1] or key in seen:
                    continue
                seen.add(key)
                for path, table in files_of(*key):
                    [name] = named([path], self._top)
                    if name not in self._readers:
                        self._readers[name] = number
                        self._tables.update([name] if table else [])
        self.inputs = {name: self._state(name) for name in self._readers}

    def _state(self, name: str) -> State:
        return digest(place(name, self._top)) if name in self._tables else self._stamp(name)

    def _stamp(self, name: str) -> State:
        return stamp(place(name, self._top))

    def _shown(self, name: str) -> str:
        return name if os.path.isabs(name) else os.path.relpath(place(name, self._top))

    def _add(self, event: dict[str, Any]) -> None:
        _append(self.path, event)


def folders_elsewhere(run: Run) -> list[str]:
    """Give the folders outside the output directory where a run before may have left files half written."""
    top = os.path.abspath(run.globals.OUTPUT_DIR)
    keys = (value for value in run.globals if value.parameter.kind == "directory" and value.value)
    places = [os.path.join(run.globals.OUTPUT_DIR, str(value.value)) for value in keys]
    for event in _events(path_of(run.globals.OUTPUT_DIR, run.pipeline)):
        places += [os.path.dirname(place(name, top)) for name in event.get("changes", ())]
    found = dict.fromkeys(os.path.realpath(place) for place in places)
    top = os.path.realpath(top)
    return [place for place in found if os.path.isdir(place) and os.path.commonpath([place, top]) != top]


def path_of(output: str, pipeline: str) -> str:
    """Give the path of the progress of a pipeline."""
    return os.path.join(output, f"progress_{pipeline}.jsonl")


def forget(output: str, pipeline: str, task: str = "") -> None:
    """Take back what is written of a pipeline, from a module on or of all modules."""
    path, kept = path_of(output, pipeline), 0
    with suppress(FileNotFoundError):
        if task:
            for event in _events(path):
                if event.get("task") == task:
                    break
                kept = event["behind"]
        os.truncate(path, kept)


def forget_later(run: Run) -> None:
    """Take back what is written of the pipelines that come behind one in a flow: they read its products."""
    number = sheets.PIPELINES.index(run.pipeline)
    for later in sheets.PIPELINES[number + 1 :]:
        forget(run.globals.OUTPUT_DIR, later)


def forget_task(run: Run, task: str) -> None:
    """Take back what is written of a module and all behind it, since it runs alone."""
    if task in sheets.pipeline_tasks(run.pipeline):
        forget(run.globals.OUTPUT_DIR, run.pipeline, task)
        forget_later(run)


def removed(run: Run, paths: Iterable[str]) -> None:
    """Write down that files are removed which no later step needs."""
    path = path_of(run.globals.OUTPUT_DIR, run.pipeline)
    if os.path.exists(path):
        _append(
            path, {"event": "remove", "files": list(named(paths, os.path.abspath(run.globals.OUTPUT_DIR)))}
        )


def _append(path: str, event: dict[str, Any]) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(_line(event))
    except OSError as problem:
        raise TaskFailed(f"{path}: cannot be written: {reason_of(problem) or problem}") from None


def _line(event: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in event.items() if key != "behind"}) + "\n"


def _events(path: str) -> Iterator[dict[str, Any]]:
    """Read the events; ``behind`` is where the next begins. The first line that is none ends them."""
    place = 0
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError), open(path, "rb") as file:
        for line in file:
            place += len(line)
            event = json.loads(line)
            if not line.endswith(b"\n") or "event" not in event:
                return
            yield {**event, "behind": place}


def _ledger(run: Run, done: list[dict]) -> tuple[dict[str, State], str]:
    """Give the state in which the products were left last, and the module of another pipeline that was cut.

    That module may have written them again, if it is one that this pipeline has, too.
    """
    found = {name: state for event in done for name, state in event["products"].items()}
    cut = ""
    for pipeline in sheets.PIPELINES[sheets.PIPELINES.index(run.pipeline) + 1 :]:
        for event in _events(path_of(run.globals.OUTPUT_DIR, pipeline)):
            if event["event"] in ("begin", "done"):
                cut = event["task"] if event["event"] == "begin" else ""
            if event["event"] == "done":
                found.update({name: state for name, state in event["products"].items() if name in found})
    return found, cut


def _values(params: Params) -> dict[str, Any]:
    """Give the values of parameters by their full names; those of switches of modules are not among them."""
    return {value.parameter.full_name: value.value for value in params}
