"""Drivers: a pipeline's tasks one after another in one process, and several pipelines as one flow."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module

from pymopex.kit import calfind, cleaning, files, log, namelist, sheets, stages
from pymopex.kit.checking import problems_of
from pymopex.kit.errors import EXIT_DONE, EXIT_FAILED, EXIT_INPUT, InputError, InputErrors, suggestion
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
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--skip-bad-frames":
            command.overrides["Skip_Bad_Frames"] = "1"
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
                f"{word}: unknown flag; known are {' '.join('-' + f for f in [*flags, *('-' + f for f in _LONG)])}"
            )
        elif "=" in word:
            key, _, value = word.partition("=")
            command.overrides[key] = value
        else:
            command.namelists.append(word)
    if problems:
        raise InputErrors(problems)
    return command


_LONG = {"like": "FITS image", "memory": "such as 1GB", "from": "module", "only": "module"}
"""Long flags with a value, and what that is."""


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
    run.pending = set(tasks)
    run.task = tasks[0]  # tells which frames are meant: behind Point Source Image, the residual ones
    if need_frames or (run.single and run.globals.INPUT_FILE_NAME not in run.promised):
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
    for number, task in enumerate(tasks):
        if run.ended:
            log.say(f"Warning: {run.ended}; left out: {', '.join(tasks[number:])}")
            return
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
    wanted = command.part(pipeline, [task for task in tasks if settings.triggered(task)])
    run = Run(settings)
    started = time.monotonic()
    try:
        check(run, wanted, need_frames=needs_frames(wanted))
        save_as_run(run)
        stages.write_kept(run)
        if command.mosaic_namelist and pipeline == "apex_qa":
            execute(run, wanted[:1])
            _mosaic_residuals(run, command)
        else:
            execute(run, wanted)
        if not command.alone:
            cleaning.clean(run, wanted)
    finally:
        run.pool.close()
    log.say(f"{pipeline}: {time.monotonic() - started:.1f} s, peak memory {log.peak_memory():.0f} MB")
    wanted_reports = [run.globals.OUTPUT_DIR] if run.globals.create_report and not command.alone else []
    if reports is None:
        _report(wanted_reports)
    else:
        reports.extend(wanted_reports)
    return not run.ended


def _report(folders: list[str]) -> None:
    """Write the report of each folder; a report that fails does not spoil the run."""
    for folder in dict.fromkeys(folders):
        from pymopex.kit.report import write_report

        try:
            log.say(f"  report: {write_report(folder)}")
        except Exception as problem:
            log.say(f"Warning: no report of {folder}: {type(problem).__name__}: {problem}")


def _mosaic_residuals(run: Run, command: Command) -> None:
    """Run Mosaic on the residual frames by the namelist of ``-u``, in the folder of the residual mosaic."""
    shared = {v.parameter.name: str(v.value) for v in run.globals if v.parameter.kind == "path" and v.value}
    overrides = {**shared, **command.overrides, "IMAGE_STACK_FILE_NAME": run.path("residual_list")}
    overrides["OUTPUT_DIR"] = os.path.join(run.globals.OUTPUT_DIR, run.globals.RESIDUAL_DIR, "mosaic")
    if overrides.get("FIF_FILE_NAME"):
        overrides["run_fiducial_image_frame"] = "0"
    drive("mosaic", pipeline_tasks("mosaic"), Command([command.mosaic_namelist], overrides), reports=[])


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


def flow(command: Command) -> None:
    """Run several pipelines; each finds the products of those before it.

    Notes
    -----
    Behind Overlap, the next pipelines take the corrected frames. Behind Mosaic, they take its fiducial frame,
    outlier masks and tiles, and APEX leaves out the modules that would make a mosaic of its own. Behind APEX,
    APEX QA takes its extraction table. Tiles stay if APEX follows. The namelists left in `OUTPUT_DIR` hold
    the values so set, and rerun alone. Uncertainties computed, frames chosen and hits found by one pipeline hold
    for those behind it.
    """
    if not command.namelists:
        raise InputError("flow: no namelist is given")
    steps = _check_flow(command)
    links: dict[str, dict[str, str]] = {name: {} for name in sheets.PIPELINES}
    if {"apex", "apex_user_list"} & {pipeline for _, pipeline in steps}:
        links["mosaic"]["keep_coadded_tiles"] = "1"  # APEX works on them
    reports: list[str] = []
    first = _first_step(command, [pipeline for _, pipeline in steps])
    for number, (path, pipeline) in enumerate(steps[: first + 1] if command.alone else steps):
        known = Command([path], {**command.overrides, **links[pipeline]}, command.mosaic_namelist)
        if number == first:
            known.start, known.alone = command.start, command.alone
        if number >= first:
            log.say(f"== {pipeline}: {path}")
            if not drive(pipeline, pipeline_tasks(pipeline), known, reports):
                break
        for later, found in _links(pipeline, path, known.overrides).items():
            links[later].update(found)
    _report(reports)


def _first_step(command: Command, pipelines: list[str]) -> int:
    """Tell with which pipeline a flow begins: the one that has the module of ``--from`` or ``--only``."""
    if not command.start:
        return 0
    home, _, name = command.start.rpartition(".")
    for number, pipeline in enumerate(pipelines):
        if home in ("", pipeline) and name in pipeline_tasks(pipeline):
            return number
    known = [task for pipeline in pipelines for task in pipeline_tasks(pipeline)]
    raise InputError(f"{command.start}: no module of {', '.join(pipelines)}{suggestion(name, known)}")


def _check_flow(command: Command) -> list[tuple[str, str]]:
    """Find the problems of all namelists before the first pipeline starts."""
    found: list[Settings] = []
    handed: dict[str, dict[str, str]] = {name: {} for name in sheets.PIPELINES}
    problems = [
        text for path in command.namelists for text in problems_of(_open, path, command, handed, found)
    ]
    steps = [(Run(settings, Pool(1)), _wanted(settings)) for settings in found]
    if command.start and not problems:  # what comes before is taken as it is
        first = _first_step(command, [settings.pipeline for settings in found])
        run, wanted = steps[first]
        steps = [(run, command.part(run.pipeline, wanted)), *(() if command.alone else steps[first + 1 :])]
    for run, wanted in steps:
        run.promised = set(handed[run.pipeline].values())
        problems += _problems(run, wanted, run is steps[0][0])
    _warn([run for run, _ in steps])
    if problems:
        raise InputErrors(problems)
    return list(zip(command.namelists, (settings.pipeline for settings in found), strict=True))


def _open(path: str, command: Command, handed: dict[str, dict[str, str]], found: list[Settings]) -> None:
    """Read a namelist, with the one image and the table that pipelines before it will have made."""
    pipeline = open_settings(path, command.overrides).pipeline
    overrides = {**command.overrides, **handed[pipeline]}
    found.append(open_settings(path, overrides))
    for later, keys in _links(pipeline, path, overrides).items():
        handed[later].update({key: value for key, value in keys.items() if key in _HANDED})


_HANDED = (
    "INPUT_FILE_NAME",
    "SIGMA_FILE_NAME",
    "COVERAGE_MAP",
    "MOSAIC_FILE_NAME",
    "EXTRACTION_TABLE",
    "POINT_SOURCE_LIST",
)


def _wanted(settings: Settings) -> list[str]:
    return [task for task in pipeline_tasks(settings.pipeline) if settings.triggered(task)]


def _links(pipeline: str, path: str, overrides: dict[str, str]) -> dict[str, dict[str, str]]:
    """Give what the pipelines behind this one are told."""
    run = Run(open_settings(path, overrides, pipeline))
    shared = stages.links(run)
    found = _own_links(run)
    return {later: {**shared, **found.get(later, {})} for later in _LATER[pipeline]}


_LATER = {name: sheets.PIPELINES[number + 1 :] for number, name in enumerate(sheets.PIPELINES)}


def _own_links(run: Run) -> dict[str, dict[str, str]]:
    """Give what the pipelines behind this one are told of its main products."""
    pipeline = run.pipeline
    if pipeline in ("flatfield", "hdr_mask", "pointingrefine"):
        return dict.fromkeys(_LATER[pipeline], _prepared(run))
    if pipeline == "overlap" and run.globals.apply_overlap_correction:
        images = {"IMAGE_STACK_FILE_NAME": run.path("corrected_list")}
        return dict.fromkeys(("mosaic", "apex", "apex_user_list", "apex_qa", "prf_estimate"), images)
    if pipeline == "mosaic":
        shared = {"FIF_FILE_NAME": run.path("mosaic_fif")}
        if run.settings.triggered("mosaic_rmask"):
            shared["RMASK_LIST"] = run.path("rmask_list")
        places = {"COADDER_DIR": run.globals.COADDER_DIR, "COMBINER_DIR": run.globals.COMBINER_DIR}
        multi = {**shared, **places, **dict.fromkeys(_MOSAICKING, "0")}
        one = dict.fromkeys(sheets.SINGLE, _mosaic_as_image(run))
        return {"apex": multi, "apex_user_list": multi, "apex_qa": shared, "prf_estimate": shared, **one}
    if pipeline in ("apex", "apex_user_list", *sheets.SINGLE):
        made = run.path("extract") if run.settings.triggered("select") else run.path("extract_raw")
        image = {"MOSAIC_FILE_NAME": run.globals.INPUT_FILE_NAME} if run.single else {}
        stars = {"prf_estimate": {"POINT_SOURCE_LIST": made}}
        return {"apex_qa": {"EXTRACTION_TABLE": made, **image}, **stars}
    return {}


def _prepared(run: Run) -> dict[str, str]:
    """Give the frames, uncertainties and masks that the pipelines before Overlap have made."""
    p, made = run.globals, {}
    if run.pipeline == "flatfield" and run.settings.triggered("apply_flatfield"):
        made = {"IMAGE_STACK_FILE_NAME": "flattened_list", "SIGMALIST_FILE_NAME": "flattened_unc_list"}
    if run.pipeline == "hdr_mask":
        made = {"DCE_STATUS_MASK_LIST": "hdr_dmask_list"}
        if run.params_of("hdr_mask").Replace_Saturated:
            made |= {
                "IMAGE_STACK_FILE_NAME": "hdr_replaced_list",
                "SIGMALIST_FILE_NAME": "hdr_replaced_unc_list",
            }
    found = {key: run.path(product) for key, product in made.items() if getattr(p, key)}
    if run.pipeline == "pointingrefine":
        found["USE_REFINED_POINTING"] = "1"
        if not run.params_of("pointingrefine").Update_Headers:
            found["IMAGE_STACK_FILE_NAME"] = run.path("refined_list")
    return found


def _mosaic_as_image(run: Run) -> dict[str, str]:
    """Give the mosaic, its uncertainty and its coverage as the one image of a single-frame run."""
    products = {"INPUT_FILE_NAME": "mosaic", "COVERAGE_MAP": "mosaic_cov"}
    if run.globals.create_unc_mosaic and run.has_uncertainties:
        products["SIGMA_FILE_NAME"] = "mosaic_unc"
    return {key: run.path(product) for key, product in products.items()}


# Modules that APEX leaves out when Mosaic ran before it.
_MOSAICKING = ("run_fiducial_image_frame", "run_mosaic_interp", "run_mosaic_coadder", "run_mosaic_combiner")
