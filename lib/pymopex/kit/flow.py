"""Several pipelines as one flow: each finds the products of those before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

from pymopex.kit import lock, log, sheets, stages
from pymopex.kit.checking import problems_of
from pymopex.kit.driver import (
    Command,
    drive,
    open_settings,
    pipeline_tasks,
    problems_of_run,
    warn,
    write_reports,
)
from pymopex.kit.errors import InputError, InputErrors, suggestion
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run


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
    with ExitStack() as held:
        for output in _outputs(command):
            held.enter_context(lock.hold(output, make=False))
        steps = _check_flow(command)
        for output in _outputs(command):
            held.enter_context(lock.hold(output))
        _run_flow(command, steps)


def _outputs(command: Command) -> Iterator[str]:
    """Give the output directories of a flow."""
    for path in command.namelists:
        with suppress(InputError):
            yield open_settings(path, command.overrides).globals().OUTPUT_DIR


def _run_flow(command: Command, steps: list[tuple[str, str]]) -> None:
    """Run the pipelines of a flow that has been checked."""
    links: dict[str, dict[str, str]] = {name: {} for name in sheets.PIPELINES}
    if {"apex", "apex_user_list"} & {pipeline for _, pipeline in steps}:
        links["mosaic"]["keep_coadded_tiles"] = "1"  # APEX works on them
    reports: list[str] = []
    first = _first_step(command, [pipeline for _, pipeline in steps])
    for number, (path, pipeline) in enumerate(steps[: first + 1] if command.alone else steps):
        known = Command([path], {**command.overrides, **links[pipeline]}, command.mosaic_namelist)
        known.resume = command.resume
        if number == first:
            known.start, known.alone = command.start, command.alone
        if number >= first:
            log.say(f"== {pipeline}: {path}")
            if not drive(pipeline, pipeline_tasks(pipeline), known, reports):
                break
        for later, found in _links(pipeline, path, known.overrides).items():
            links[later].update(found)
    write_reports(reports)


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
        problems += problems_of_run(run, wanted, run is steps[0][0])
    warn([run for run, _ in steps])
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
