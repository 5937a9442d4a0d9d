"""Drivers: a pipeline's tasks one after another in one process, and several pipelines as one flow."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module, resources

from pymopex.kit import files, log, namelist, sheets
from pymopex.kit.checking import problems_of
from pymopex.kit.errors import EXIT_DONE, EXIT_FAILED, EXIT_INPUT, InputError, InputErrors, TaskFailed
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run

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
}


@dataclass
class Command:
    """A driver's command line: namelists, values set by flags and ``KEY=VALUE``, and the ``-u`` namelist."""

    namelists: list[str] = field(default_factory=list)
    overrides: dict[str, str] = field(default_factory=dict)
    mosaic_namelist: str = ""


def parse_command(words: list[str]) -> Command:
    """Parse legacy flags (value apart or glued on), ``KEY=VALUE`` words and namelists.

    Raises
    ------
    InputErrors
        With every word that is not understood.
    """
    command, problems = Command(), []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--skip-bad-frames":
            command.overrides["Skip_Bad_Frames"] = "1"
        elif re.fullmatch(r"-[A-Za-z].*", word) and word[1] in FLAGS:
            value = word[2:] or (rest.pop(0) if rest else "")
            if not value:
                problems.append(f"{word}: needs a value ({FLAGS[word[1]][1]})")
            _take_flag(command, word[1], value)
        elif word.startswith("-"):
            problems.append(f"{word}: unknown flag; known are {' '.join('-' + f for f in FLAGS)}")
        elif "=" in word:
            key, _, value = word.partition("=")
            command.overrides[key] = value
        else:
            command.namelists.append(word)
    if problems:
        raise InputErrors(problems)
    return command


def _take_flag(command: Command, flag: str, value: str) -> None:
    if flag == "n":
        command.namelists.append(value)
    elif flag == "u":
        command.mosaic_namelist = value
    else:
        command.overrides[FLAGS[flag][0]] = value


def pipeline_tasks(pipeline: str) -> list[str]:
    """Give the ordered tasks of a pipeline, which its shell driver holds."""
    text = resources.files("pymopex.scripts").joinpath(f"{pipeline}.sh").read_text(encoding="utf-8")
    match = re.search(r'^tasks="([^"]*)"', text, re.MULTILINE)
    if match is None:
        raise TaskFailed(f"{pipeline}.sh: holds no list of tasks")
    return match[1].split()


def pipeline_of(found: namelist.Namelist) -> str | None:
    """Tell the pipeline of a namelist from its ``Flow`` meta-data line, else from its file name."""
    for text in (found.metadata.get("Flow", ""), os.path.basename(found.path)):
        squeezed = re.sub(r"[^a-z]", "", text.casefold())
        for name in ("apex_qa", "overlap", "mosaic", "apex"):
            if name.replace("_", "") in squeezed:
                return name
    return None


def open_settings(
    path: str, overrides: dict[str, str], pipeline: str | None = None, task: str = ""
) -> Settings:
    """Read a namelist and put the overrides on top.

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
    return Settings(found, pipeline, overrides, task)


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
    problems = _problems(run, tasks, need_frames)
    _warn([run])
    if problems:
        raise InputErrors(problems)


def _warn(runs: list[Run]) -> None:
    for warning in dict.fromkeys(text for run in runs for text in run.settings.warnings):
        log.say(f"Warning: {warning}")


def _problems(run: Run, tasks: list[str], need_frames: bool) -> list[str]:
    """Give the problems of the namelist, of the frames, and those that the modules name."""
    from pymopex.kit.inputs import check_frames

    if not tasks:
        return [
            *run.settings.problems,
            f"{run.settings.namelist.path}: no module of {run.pipeline} is switched on",
        ]
    for task in tasks:
        run.params_of(task)
    problems = list(run.settings.problems)
    run.task = tasks[0]  # tells which frames are meant: behind Point Source Image, the residual ones
    if need_frames:
        problems += problems_of(check_frames, run)
    for task in tasks if not run.settings.problems else []:
        module = import_module(f"pymopex.tasks.{task}")
        if hasattr(module, "check"):
            run.task = task
            problems += problems_of(module.check, run)
    return problems


def execute(run: Run, tasks: list[str]) -> None:
    """Run tasks in order; the log has a line with the command before each and its status behind."""
    prefix = os.path.join(sys.prefix, "bin", "mopex")
    for task in tasks:
        log.say(f"{prefix} {task} {run.settings.namelist.path}")
        try:
            run.execute(task)
        except BaseException as problem:
            log.say(f"System Exit {EXIT_INPUT if isinstance(problem, InputError) else EXIT_FAILED}")
            raise
        log.say(f"System Exit {EXIT_DONE}")


def needs_frames(tasks: list[str]) -> bool:
    """Tell whether any of the tasks reads the lists of frames."""
    return any("IMAGE_STACK_FILE_NAME" in sheets.sheet(task).uses for task in tasks)


def drive(pipeline: str, tasks: list[str], command: Command) -> None:
    """Run one pipeline.

    Parameters
    ----------
    pipeline : str
        Its name.
    tasks : list of str
        Its tasks in order; those the namelist switches on are run.
    command : Command
        The command line; one namelist.
    """
    if len(command.namelists) != 1:
        raise InputError(f"{pipeline}: one namelist is needed (-n namelist); got {len(command.namelists)}")
    settings = open_settings(command.namelists[0], command.overrides, pipeline)
    wanted = [task for task in tasks if settings.triggered(task)]
    run = Run(settings)
    started = time.monotonic()
    try:
        check(run, wanted, need_frames=needs_frames(wanted))
        save_as_run(run)
        if command.mosaic_namelist and pipeline == "apex_qa":
            execute(run, wanted[:1])
            _mosaic_residuals(run, tasks[1:], command)
        else:
            execute(run, wanted)
        if run.globals.delete_intermediate_files:
            delete_intermediate(run)
    finally:
        run.pool.close()
    log.say(f"{pipeline}: {time.monotonic() - started:.1f} s, peak memory {log.peak_memory():.0f} MB")


def _mosaic_residuals(run: Run, tasks: list[str], command: Command) -> None:
    """Mosaic the residual frames by the namelist of ``-u``."""
    shared = {v.parameter.name: str(v.value) for v in run.globals if v.parameter.kind == "path" and v.value}
    overrides = {**shared, **command.overrides, "OUTPUT_DIR": run.globals.OUTPUT_DIR}
    settings = open_settings(command.mosaic_namelist, overrides, "apex_qa")
    wanted = [task for task in tasks if settings.triggered(task)]
    second = Run(settings, run.pool)
    check(second, wanted, need_frames=False)
    execute(second, wanted)


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


_INTERMEDIATE = {
    "overlap": ("minback", "detmap", "interp", "interp_covg", "interp_unc"),
    "mosaic": (
        *("minback", "detmap", "interp", "interp_covg", "interp_unc", "proj", "dual", "level"),
        *("outlier", "box_outlier", "reinterp", "reinterp_covg", "reinterp_unc"),
    ),
    "apex": ("interp", "interp_covg", "interp_unc"),
    "apex_qa": ("interp", "interp_covg", "interp_unc"),
}


def delete_intermediate(run: Run) -> None:
    """Remove the images of each frame that no later pipeline needs."""
    count = 0
    run.task = "mosaic_interp"
    for product in _INTERMEDIATE[run.pipeline]:
        for frame in run.frames():
            base = frame.sigma_base if product.endswith("unc") else frame.base
            path = run.path(product, base=base)
            if os.path.exists(path):
                os.unlink(path)
                count += 1
    run.note(f"deleted {count} intermediate images")


def flow(command: Command) -> None:
    """Run several pipelines; each finds the products of those before it.

    Notes
    -----
    Behind Overlap, the next pipelines take the corrected frames. Behind Mosaic, they take its fiducial frame,
    outlier masks and tiles, and APEX leaves out the modules that would make a mosaic of its own. Behind APEX,
    APEX QA takes its extraction table. The namelists left in `OUTPUT_DIR` hold the values so set, and
    rerun alone.
    """
    if not command.namelists:
        raise InputError("flow: no namelist is given")
    steps = _check_flow(command)
    links: dict[str, dict[str, str]] = {name: {} for name in sheets.PIPELINES}
    for path, pipeline in steps:
        log.say(f"== {pipeline}: {path}")
        known = Command([path], {**command.overrides, **links[pipeline]}, command.mosaic_namelist)
        drive(pipeline, pipeline_tasks(pipeline), known)
        for later, found in _links(pipeline, path, known.overrides).items():
            links[later].update(found)


def _check_flow(command: Command) -> list[tuple[str, str]]:
    """Find the problems of all namelists before the first pipeline starts."""
    found: list[Settings] = []
    problems = [text for path in command.namelists for text in problems_of(_open, path, command, found)]
    steps = [(Run(settings, Pool(1)), _wanted(settings)) for settings in found]
    for run, wanted in steps:
        problems += _problems(run, wanted, run is steps[0][0])
    _warn([run for run, _ in steps])
    if problems:
        raise InputErrors(problems)
    return list(zip(command.namelists, (settings.pipeline for settings in found), strict=True))


def _open(path: str, command: Command, found: list[Settings]) -> None:
    found.append(open_settings(path, command.overrides))


def _wanted(settings: Settings) -> list[str]:
    return [task for task in pipeline_tasks(settings.pipeline) if settings.triggered(task)]


def _links(pipeline: str, path: str, overrides: dict[str, str]) -> dict[str, dict[str, str]]:
    """Give what the pipelines behind this one are told."""
    run = Run(open_settings(path, overrides, pipeline))
    if pipeline == "overlap" and run.globals.apply_overlap_correction:
        images = {"IMAGE_STACK_FILE_NAME": run.path("corrected_list")}
        return {"mosaic": images, "apex": images, "apex_qa": images}
    if pipeline == "mosaic":
        shared = {"FIF_FILE_NAME": run.path("mosaic_fif")}
        if run.settings.triggered("mosaic_rmask"):
            shared["RMASK_LIST"] = run.path("rmask_list")
        places = {"COADDER_DIR": run.globals.COADDER_DIR, "COMBINER_DIR": run.globals.COMBINER_DIR}
        return {"apex": {**shared, **places, **dict.fromkeys(_MOSAICKING, "0")}, "apex_qa": shared}
    if pipeline == "apex":
        made = run.path("extract") if run.settings.triggered("select") else run.path("extract_raw")
        return {"apex_qa": {"EXTRACTION_TABLE": made}}
    return {}


# Modules that APEX leaves out when Mosaic ran before it.
_MOSAICKING = ("run_fiducial_image_frame", "run_mosaic_interp", "run_mosaic_coadder", "run_mosaic_combiner")
