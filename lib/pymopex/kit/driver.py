"""Drivers: a pipeline's tasks one after another in one process."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module

from pymopex.kit import calfind, cleaning, files, log, namelist, resume, sheets, signals, stages
from pymopex.kit.checking import problems_of
from pymopex.kit.confining import problems_of_places
from pymopex.kit.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INPUT,
    InputError,
    InputErrors,
    suggestion,
)
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run
from pymopex.kit.working import at_work

# Flags of the legacy scripts and the keys they set.
FLAGS: dict[str, tuple[str, str]] = {
    "n": ("", "namelist"),
    "I": ("IMAGE_STACK_FILE_NAME", "list of data frames"),
    "S": ("SIGMALIST_FILE_NAME", "list of uncertainty images"),
    "d": ("DCE_STATUS_MASK_LIST", "list of status masks"),
    "M": ("PMASK_FILE_NAME", "permanent bad-pixel mask"),
    "R": ("RMASK_LIST", "list of outlier masks"),
    "F": ("FIF_FILE_NAME", "fiducial image frame table"),
    "O": ("OUTPUT_DIR", "output directory"),
    "p": ("PRF_file_name", "PRF of the frames"),
    "m": ("PRFMAP_FILE_NAME", "table of PRFs over the array"),
    "P": ("MOSAIC_PRF_file_name", "PRF of the mosaic, for detection"),
    "E": ("EXTRACTION_TABLE", "table of fitted sources (apex_qa)"),
    "u": ("", "namelist for the mosaic of residual frames (apex_qa)"),
    "T": ("MOSAIC_FILE_NAME", "image to be freed of the sources (apex_qa on one image)"),
}
_OF_LIST = {"u": ("INPUT_USER_LIST", "table of the positions to be measured")}
_OF_FRAMES = {flag: FLAGS[flag] for flag in "nISdMRO"}  # of what is done to frames before Overlap
_OF_HDR = {"s": ("SHORT_IMAGE_STACK_FILE_NAME", "list of short frames")}
_OF_POINTING = {"u": ("POINTINGREFINE.Reference_List", "table of known positions")}
_OF_ONE_IMAGE = {
    "n": FLAGS["n"],
    "i": ("INPUT_FILE_NAME", "image"),
    "s": ("SIGMA_FILE_NAME", "uncertainty image"),
    "d": ("DCE_STATUS_MASK", "status mask"),
    "M": FLAGS["M"],
    "R": ("RMASK_FILE_NAME", "outlier mask"),
    "O": FLAGS["O"],
    "p": ("PRF_file_name", "PRF of the image"),
    "m": FLAGS["m"],
    "P": ("MOSAIC_PRF_file_name", "another PRF for detection"),
}
_OF_PRF = {
    **{flag: FLAGS[flag] for flag in "nISdMRFO"},
    "E": ("POINT_SOURCE_LIST", "table of the stars"),
    "i": ("INPUT_FILE_NAME", "image, in place of a list of frames"),
    "s": ("SIGMA_FILE_NAME", "its uncertainty image"),
}


def flags_of(pipeline: str) -> dict[str, tuple[str, str]]:
    """Give the flags of a pipeline, with the key each sets and its meaning."""
    if pipeline == "prf_estimate":
        return dict(_OF_PRF)
    own = {"flatfield": {}, "hdr_mask": _OF_HDR, "pointingrefine": _OF_POINTING}
    if pipeline in own:
        return {**_OF_FRAMES, **own[pipeline]}
    found = dict(_OF_ONE_IMAGE if pipeline in sheets.SINGLE else FLAGS)
    if pipeline in sheets.USER_LIST:
        found |= _OF_LIST
    return found


@dataclass
class Command:
    """A driver's command line: namelists, values set by flags and ``KEY=VALUE``, and the ``-u`` namelist.

    ``start`` is the module of ``--from`` or, with ``alone``, that of ``--only``; as ``PIPELINE.MODULE`` where several
    pipelines of a flow have it.
    """

    namelists: list[str] = field(default_factory=list)
    overrides: dict[str, str] = field(default_factory=dict)
    mosaic_namelist: str = ""
    start: str = ""
    alone: bool = False
    resume: bool = False

    def part(self, pipeline: str, wanted: list[str]) -> list[str]:
        """Give those of the wanted tasks of a pipeline that ``--from`` or ``--only`` leaves.

        Raises
        ------
        InputError
            The pipeline has no such module.
        """
        if not self.start:
            return wanted
        name, order = self.start.rpartition(".")[2], pipeline_tasks(pipeline)
        if name not in order:
            raise InputError(f"{self.start}: no module of {pipeline}{suggestion(name, order)}")
        if self.alone:
            return [name]
        return [task for task in wanted if order.index(task) >= order.index(name)]


def parse_command(words: list[str], pipeline: str = "") -> Command:
    """Parse legacy flags (value apart or glued on), ``KEY=VALUE`` words and namelists.

    Parameters
    ----------
    words : list of str
        The command line.
    pipeline : str
        Whose flags are meant; empty for that of the first namelist.

    Raises
    ------
    InputErrors
        With every word that is not understood.
    """
    if not pipeline:
        return parse_command(words, _told(words))
    command, problems, flags = Command(), [], flags_of(pipeline)
    rest, known = list(words), [*_LONG, *_SWITCHES]
    while rest:
        word = rest.pop(0)
        if word == "--skip-bad-frames":
            command.overrides["Skip_Bad_Frames"] = "1"
        elif word == "--resume":
            command.resume = True
        elif (match := re.fullmatch(r"--(\w+)(?:=(.*))?", word)) and match[1] in _LONG:
            value = match[2] or (rest.pop(0) if rest else "")
            if not value:
                problems.append(f"--{match[1]}: needs a value ({_LONG[match[1]]})")
            _take_long(command, match[1], value)
        elif re.fullmatch(r"-[A-Za-z].*", word) and word[1] in flags:
            value = word[2:] or (rest.pop(0) if rest else "")
            if not value:
                problems.append(f"{word}: needs a value ({flags[word[1]][1]})")
            _take_flag(command, word[1], flags[word[1]][0], value)
        elif word.startswith("-"):
            problems.append(
                f"{word}: unknown flag; known are {' '.join('-' + f for f in [*flags, *('-' + f for f in known)])}"
            )
        elif "=" in word:
            key, _, value = word.partition("=")
            command.overrides[key] = value
        else:
            command.namelists.append(word)
    if command.resume and command.start:
        problems.append("--resume: finds the module to begin with itself; leave out --from and --only")
    if problems:
        raise InputErrors(problems)
    return command


_LONG = {"like": "FITS image", "memory": "such as 1GB", "from": "module", "only": "module"}
"""Long flags with a value, and what that is."""
_SWITCHES = ("skip-bad-frames", "resume")


def _take_long(command: Command, name: str, value: str) -> None:
    if name == "like":
        command.overrides["FIDUCIALIMAGEFRAMEIN.Like_Image"] = value
    elif name == "memory":
        command.overrides["Memory"] = _gigabytes(value)
    else:
        command.start, command.alone = value, name == "only"


def _gigabytes(value: str) -> str:
    """Give a size with a unit, such as 500MB, in gigabytes; anything else as it is."""
    found = re.fullmatch(r"([0-9.]+) ?([MGT])B?", value, re.IGNORECASE)
    if not found:
        return value
    return f"{float(found[1]) * {'M': 1e-3, 'G': 1.0, 'T': 1e3}[found[2].upper()]:g}"


def _told(words: list[str]) -> str:
    """Tell the pipeline from the first word that names a namelist, without complaints."""
    for word in words:
        if word.endswith(".nl"):
            try:
                return pipeline_of(namelist.read(namelist.find(word.removeprefix("-n")))) or "flow"
            except InputError:
                break
    return "flow"


def _take_flag(command: Command, flag: str, key: str, value: str) -> None:
    if flag == "n":
        command.namelists.append(value)
    elif not key:
        command.mosaic_namelist = value
    else:
        command.overrides[key] = value


def pipeline_tasks(pipeline: str) -> list[str]:
    """Give the ordered tasks of a pipeline, which its shell driver holds."""
    return list(sheets.pipeline_tasks(pipeline))


def pipeline_of(found: namelist.Namelist) -> str | None:
    """Tell the pipeline of a namelist from its ``Flow`` meta-data line, else from its file name."""
    for text in (found.metadata.get("Flow", ""), os.path.basename(found.path)):
        squeezed = re.sub(r"[^a-z0-9]", "", text.casefold())
        for name, pattern in _TELLING.items():
            if re.search(pattern, squeezed):
                return name
    return None


_ONE = "(1|one|single)(frame|image)"
_TELLING = {
    "flatfield": "flatfield",
    "hdr_mask": "hdrmask",
    "pointingrefine": "pointingrefine",
    "prf_estimate": "prfest",
    "apex_qa": "apexqa",
    "apex_user_list_1frame": f"userlist{_ONE}|{_ONE}userlist",
    "apex_user_list": "userlist",
    "apex_1frame": f"apex{_ONE}",
    "artifacts": "artifacts",
    "overlap": "overlap",
    "mosaic": "mosaic",
    "apex": "apex",
}


def open_settings(
    path: str, overrides: dict[str, str], pipeline: str | None = None, task: str = ""
) -> Settings:
    """Read a namelist, put the overrides on top, and paths of calibration files in the place of ``auto``.

    Raises
    ------
    InputError
        If the file cannot be read, or does not tell its pipeline and none is given.
    """
    found = namelist.read(namelist.find(path))
    pipeline = pipeline or pipeline_of(found)
    if pipeline is None:
        raise InputError(
            f"{path}: cannot tell the pipeline from the name or a Flow meta-data line; name the file after one of "
            + ", ".join(sheets.PIPELINES)
        )
    settings = Settings(found, pipeline, overrides, task)
    calfind.resolve(settings)
    return settings


def check(run: Run, tasks: list[str], *, need_frames: bool = True) -> None:
    """Find every problem of a run before work starts.

    Raises
    ------
    InputErrors
        With all of them.

    Notes
    -----
    The modules check their own inputs only if all parameters are sound, since they need the values.
    """
    problems = problems_of_run(run, tasks, need_frames)
    warn([run])
    if problems:
        raise InputErrors(problems)


def warn(runs: list[Run]) -> None:
    """Tell the warnings of runs, each once."""
    for warning in dict.fromkeys(text for run in runs for text in run.settings.warnings):
        log.say(f"Warning: {warning}")


def problems_of_run(run: Run, tasks: list[str], need_frames: bool) -> list[str]:
    """Give the problems of the namelist, of the frames, and those that the modules name."""
    from pymopex.kit.frame_checks import check_frames, problems_of_fiducial

    if not tasks:
        return [
            *run.settings.problems,
            f"{run.settings.namelist.path}: no module of {run.pipeline} is switched on",
        ]
    for task in tasks:
        run.params_of(task)
    problems = list(run.settings.problems) or problems_of_places(run, tasks)
    run.pending = set(tasks)
    run.task = tasks[0]  # tells which frames are meant: behind Point Source Image, the residual ones
    if need_frames or (run.single and run.globals.INPUT_FILE_NAME not in run.promised):
        problems += problems_of(check_frames, run)
    problems += problems_of_fiducial(run, tasks, first=need_frames)
    for task in tasks if not run.settings.problems else []:
        module = import_module(f"pymopex.tasks.{task}")
        if hasattr(module, "check"):
            run.task = task
            problems += problems_of(module.check, run)
    return problems


def execute(run: Run, tasks: list[str], progress: resume.Progress | None = None) -> None:
    """Run tasks in order; the log has a line with the command before each and its status behind.

    Parameters
    ----------
    run : Run
        The namelist at work.
    tasks : list of str
        The tasks.
    progress : Progress or None
        Where is written down what is done; None takes back what is written there of the tasks.
    """
    prefix = os.path.join(sys.prefix, "bin", "mopex")
    for number, task in enumerate(tasks):
        signals.check()
        if run.ended:
            log.say(f"Warning: {run.ended}; left out: {', '.join(tasks[number:])}")
            return
        log.say(f"{prefix} {task} {run.settings.namelist.path}")
        try:
            if progress is None:
                resume.forget_task(run, task)
                run.execute(task)
            else:
                progress.begin(task)
                run.execute(task)
                progress.end(task)
        except BaseException as problem:
            log.say(f"System Exit {EXIT_INPUT if isinstance(problem, InputError) else EXIT_FAILED}")
            raise
        log.say(f"System Exit {EXIT_DONE}")


def needs_frames(tasks: list[str]) -> bool:
    """Tell whether any of the tasks reads the lists of frames."""
    return any("IMAGE_STACK_FILE_NAME" in sheets.sheet(task).uses for task in tasks)


def drive(pipeline: str, tasks: list[str], command: Command, reports: list[str] | None = None) -> bool:
    """Run one pipeline; gives False if it ended early because there is nothing to do.

    Parameters
    ----------
    pipeline : str
        Its name.
    tasks : list of str
        Its tasks in order; those the namelist switches on are run.
    command : Command
        The command line; one namelist.
    reports : list of str or None
        Where the folder is added whose report is wanted; None writes it here.
    """
    if len(command.namelists) != 1:
        raise InputError(f"{pipeline}: one namelist is needed (-n namelist); got {len(command.namelists)}")
    settings = open_settings(command.namelists[0], command.overrides, pipeline)
    every = [task for task in tasks if settings.triggered(task)]
    wanted = command.part(pipeline, every)
    run = Run(settings)
    residuals = bool(command.mosaic_namelist and pipeline == "apex_qa")
    progress = resume.Progress(run, every[:1] if residuals else every)

    def check_first() -> None:
        if not command.start:  # else modules that do not run are not checked either
            progress.look()  # before the check: what changes from now on is not what was checked
        check(run, wanted, need_frames=needs_frames(wanted))

    started = time.monotonic()
    with at_work(run, check_first):
        ran = _modules(run, progress, wanted, command, residuals=residuals)
    if ran:
        log.say(f"{pipeline}: {time.monotonic() - started:.1f} s, peak memory {log.peak_memory():.0f} MB")
    wanted_reports = [run.globals.OUTPUT_DIR] if run.globals.create_report and not command.alone else []
    if not ran and os.path.exists(os.path.join(run.globals.OUTPUT_DIR, "report.html")):
        wanted_reports = []
    if reports is None:
        write_reports(wanted_reports)
    else:
        reports.extend(wanted_reports)
    return not run.ended


def _modules(
    run: Run, progress: resume.Progress, wanted: list[str], command: Command, *, residuals: bool
) -> bool:
    """Run the wanted modules, but for those that are done; gives whether there was anything to do."""
    every = progress.wanted
    wanted = wanted[:1] if residuals else wanted
    kept = _skip(run, progress) if command.resume else len(every) - len(wanted)
    if command.resume and kept == len(every) and progress.finished:
        return False
    wanted = every[kept:] if command.resume else wanted
    to_remove = [] if wanted else progress.to_remove
    written = None if command.alone or not progress.follows(kept) else progress
    save_as_run(run)
    stages.write_kept(run)
    if written:
        written.start(kept)
    execute(run, wanted, written)
    if residuals:
        _mosaic_residuals(run, command, resumed=command.resume and not wanted)
    if written:
        written.check_inputs()
    if to_remove:
        cleaning.go_on(run, to_remove)
    elif not command.alone:
        cleaning.clean(run, every if command.resume else wanted)
    if written:
        written.finish()
    return True


def _skip(run: Run, progress: resume.Progress) -> int:
    """Tell how many modules are done, and say so."""
    every = progress.wanted
    kept, why = progress.skipped()
    for task in every[:kept]:
        run.pending.discard(task)
    if kept == len(every):
        log.say(f"{run.pipeline}: all {kept} modules are done, and nothing they depend on has changed")
        return kept
    if kept:
        log.say(
            f"{run.pipeline}: {kept} of {len(every)} modules are done and skipped: {', '.join(every[:kept])}"
        )
    log.say(f"{run.pipeline}: begins with {every[kept]}: {why}")
    return kept


def write_reports(folders: list[str]) -> None:
    """Write the report of each folder; a report that fails does not spoil the run."""
    for folder in dict.fromkeys(folders):
        from pymopex.kit.report import write_report

        try:
            log.say(f"  report: {write_report(folder)}")
        except Exception as problem:
            log.say(f"Warning: no report of {folder}: {type(problem).__name__}: {problem}")


def _mosaic_residuals(run: Run, command: Command, *, resumed: bool) -> None:
    """Run Mosaic on the residual frames by the namelist of ``-u``, in the folder of the residual mosaic."""
    shared = {v.parameter.name: str(v.value) for v in run.globals if v.parameter.kind == "path" and v.value}
    overrides = {**shared, **command.overrides, "IMAGE_STACK_FILE_NAME": run.path("residual_list")}
    overrides["OUTPUT_DIR"] = os.path.join(run.globals.OUTPUT_DIR, run.globals.RESIDUAL_DIR, "mosaic")
    if overrides.get("FIF_FILE_NAME"):
        overrides["run_fiducial_image_frame"] = "0"
    drive(
        "mosaic",
        pipeline_tasks("mosaic"),
        Command([command.mosaic_namelist], overrides, resume=resumed),
        reports=[],
    )


def save_as_run(run: Run) -> None:
    """Leave the namelist, with all overrides in it, in the output directory."""
    settings = run.settings
    copy = namelist.parse(settings.namelist.text(), settings.namelist.path)
    for entry in settings.overrides.values():
        quoted = f"'{entry.value}'" if re.search(r"[,#]", entry.value) else entry.value
        copy.set(entry.key, quoted, entry.block)
    text = copy.text()
    if pipeline_of(copy) != run.pipeline:
        text = f"{namelist.METADATA}Flow=pymopex.{run.pipeline}\n{text}"
    name = os.path.basename(settings.namelist.path) or f"{run.pipeline}.nl"
    target = run.path("as_run", list=name)
    if os.path.exists(target) and os.path.samefile(target, settings.namelist.path):
        return
    files.write_text(target, text)
