"""What a task is given: its parameters, the frames, the names of products, a pool, and a log.

A task is a module of ``pymopex.tasks`` with a function ``run(run: Run) -> None``, and may have
``check(run: Run) -> list[str]``, which names problems of its inputs before any work starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pymopex.kit import compiled, log, provenance, sheets
from pymopex.kit.errors import InputError, TaskFailed
from pymopex.kit.files import calibration_file
from pymopex.kit.images import FatalBits, FrameFiles, Stamp
from pymopex.kit.parallel import Pool, make_pool
from pymopex.kit.parameters import Params, Settings
from pymopex.kit.products import PRODUCTS, template

if TYPE_CHECKING:
    from pymopex.geometry import FiducialFrame


def _names(keys: Params) -> dict[str, Any]:
    """Give what stands in names of products for directories and texts of the namelist."""
    names = {v.parameter.name: v.value for v in keys if v.parameter.kind in ("directory", "text")}
    output = keys.OUTPUT_DIR
    folders = {key: os.path.join(output, str(name)) for key, name in names.items() if key.endswith("_DIR")}
    return {**names, **folders, "OUTPUT_DIR": output}


_LINES = 200  # of the log of a task that its record keeps, at most


class Run:
    """One namelist at work: everything a task needs besides the pixels.

    Parameters
    ----------
    settings : Settings
        The namelist with its overrides.
    pool : Pool, optional
        Where jobs run; by default made from ``do_multiprocess``.
    """

    def __init__(self, settings: Settings, pool: Pool | None = None):
        self.settings = settings
        self.pipeline = settings.pipeline
        self.globals: Params = settings.globals()
        self.task = ""
        self.made: list[str] = []
        self.skipped: dict[str, str] = {}
        self.pending: set[str] = set()
        self.promised: set[str] = set()
        self.ended = ""
        self._frames: tuple[FrameFiles, ...] | None = None
        self._changed: dict[tuple[str, ...], tuple[FrameFiles, ...]] = {}
        self._params: dict[str, Params] = {}
        self._names = _names(self.globals)
        mode, count = self.globals.do_multiprocess, self.globals.ncpu_multiprocess
        self.pool = pool or make_pool(mode, count)

    @property
    def params(self) -> Params:
        """Parameters of the task at work."""
        return self.params_of(self.task)

    def params_of(self, task: str) -> Params:
        """Parameters of any task of this namelist."""
        if task not in self._params:
            self._params[task] = self.settings.params(task)
        return self._params[task]

    @property
    def top(self) -> str:
        """Top directory of the mosaic: `OUTPUT_DIR`, or that of the residual mosaic."""
        output = self.globals.OUTPUT_DIR
        in_residual = self.pipeline == "apex_qa" and self.task != "pointsourceimage"
        return os.path.join(output, self.globals.RESIDUAL_DIR, "mosaic") if in_residual else output

    @property
    def single(self) -> bool:
        """Whether the pipeline works on one image."""
        either = self.pipeline in sheets.EITHER and not self.globals.IMAGE_STACK_FILE_NAME
        return either or self.pipeline in sheets.SINGLE

    @property
    def user_list(self) -> bool:
        """Whether the pipeline gets its positions from a list, in place of a detection."""
        return self.pipeline in sheets.USER_LIST

    @property
    def list_name(self) -> str:
        """File name of the list of frames, from which lists of products take theirs."""
        return os.path.basename(self.globals.IMAGE_STACK_FILE_NAME) or "ImageList.txt"

    def path(self, product: str, **names: Any) -> str:
        """Give the path of a product (see `pymopex.kit.products`)."""
        if self.single and "base" not in names:
            names["base"] = FrameFiles(0, self.globals.INPUT_FILE_NAME).base
        known = {**self._names, "top": self.top, "list": self.list_name, **names}
        return os.path.normpath(template(product, single=self.single).format(**known))

    def existing(self, product: str, **names: Any) -> str:
        """Give the path of a product that must exist.

        Raises
        ------
        InputError
            If it does not; the message names the module that makes it.
        """
        path = self.path(product, **names)
        if not os.path.exists(path):
            maker = PRODUCTS[product][0]
            hint = f"; run {maker} first" if maker else ""
            raise InputError(f"{path}: missing, and {self.task} needs it{hint}")
        return path

    @property
    def bits(self) -> FatalBits:
        """Fatal bit patterns; of status masks that Detect Radhit makes from nothing, its own bit."""
        keys = self.globals
        dmask = keys.DCE_Status_Mask_Fatal_BitPattern
        if dmask is None and self.switched("detect_radhit"):
            dmask = 1 << keys.DCE_Status_Mask_Radhit_Bit
        return FatalBits(
            dmask or 0,
            keys.PMask_Fatal_BitPattern or 0,
            keys.RMask_Fatal_BitPattern or 0,
        )

    def switched(self, task: str) -> bool:
        """Tell whether the pipeline has a task and the namelist switches it on."""
        return task in sheets.pipeline_tasks(self.pipeline) and self.settings.triggered(task)

    @property
    def has_uncertainties(self) -> bool:
        """Whether uncertainties are given, or computed by S/N Estimator."""
        keys = self.globals
        name = keys.SIGMA_FILE_NAME if self.single else keys.SIGMALIST_FILE_NAME
        given = bool(name and keys.have_uncertainties)
        return given or self.switched("sn_estimator")

    def frames(self) -> tuple[FrameFiles, ...]:
        """Give the frames of the lists, as the modules before the task at work have left them.

        In APEX QA, behind Point Source Image, these are the residual frames; where the pipeline works on one image,
        that one.
        """
        from pymopex.kit import stages

        if self._frames is None:
            from pymopex.kit.inputs import frame_files, one_frame

            self._frames = (
                one_frame(self.globals, either=self.pipeline in sheets.EITHER)
                if self.single
                else frame_files(self.globals, skip=self.skipped)
            )
            self._changed.clear()
        before = stages.stages_before(self)
        if before:
            if before not in self._changed:
                self._changed[before] = stages.changed(self, self._frames, before)
            return self._changed[before]
        if self.pipeline == "apex_qa" and self.task != "pointsourceimage":
            return tuple(self._residual(files) for files in self._frames)
        return self._frames

    def _residual(self, files: FrameFiles) -> FrameFiles:
        image = self.path("residual", base=files.base)
        return FrameFiles(files.index, image, files.sigma, files.dmask, files.rmask, files.pmask)

    def fiducial(self, product: str = "mosaic_fif") -> FiducialFrame:
        """Read the frame of the mosaic ('mosaic_fif'), or the fiducial frame it is made from ('fif')."""
        from pymopex.kit.fif import read_fif

        return read_fif(self.fiducial_path() if product == "fif" else self.existing(product))

    def fiducial_path(self) -> str:
        """Give the path of the fiducial image frame: the one given, or the one made here."""
        given = self.globals.FIF_FILE_NAME
        if given and self.switched("fiducial_image_frame") and self.fiducial_target() != given:
            return self.existing("fif")
        if given:
            if not os.path.exists(given) and not self.settings.triggered("fiducial_image_frame"):
                raise InputError(f"{given}: no such fiducial image frame (FIF_FILE_NAME)")
            return given
        if self.pipeline == "apex_qa":
            output = self.globals.OUTPUT_DIR
            for name in ("mosaic_fif.tbl", "FIF.tbl"):
                if os.path.exists(os.path.join(output, name)):
                    return os.path.join(output, name)
        return self.existing("fif")

    def fiducial_target(self) -> str:
        """Tell where Fiducial Image Frame writes its table.

        That is FIF_FILE_NAME, but for a table there that a user made or edited, or a place outside of the output
        directory that the namelist names: then the one of the output directory.
        """
        from pymopex.kit.confining import fiducial_leads_out
        from pymopex.kit.fif import is_own

        given = self.globals.FIF_FILE_NAME
        return given if given and is_own(given) and not fiducial_leads_out(self) else self.path("fif")

    def calibration(self, key: str) -> str:
        """Find the calibration file that a key names."""
        name = getattr(self.globals, key)
        try:
            return calibration_file(name)
        except InputError as problem:
            raise InputError(f"{self.globals.origin(key)}: {key} = {problem}") from None

    def stamp(self) -> Stamp:
        """Give what the products of this task say of their making."""
        return Stamp(self.task, self.params.cards())

    def map(self, job: Callable[[Any], Any], arguments: Sequence[Any], what: str = "frames") -> list[Any]:
        """Run jobs in the pool; results in order."""
        compiled.tell_once()
        return self.pool.map(job, arguments, what)

    def note(self, text: str) -> None:
        """Write a line of the log."""
        log.say(f"  {text}")

    def end(self, reason: str) -> None:
        """Leave out the tasks behind this one: there is nothing for them to do."""
        self.ended = reason

    def keep(self, *paths: str) -> None:
        """Count products as made by this task."""
        self.made.extend(paths)

    def execute(self, task: str) -> None:
        """Run a task, and record what it made and how."""
        self.task, self.made = task, []
        started = time.monotonic()
        os.makedirs(self.globals.OUTPUT_DIR, exist_ok=True)
        with log.kept() as lines:
            try:
                import_module(f"pymopex.tasks.{task}").run(self)
            except InputError:
                raise
            except BaseException as problem:
                with suppress(OSError, TaskFailed):  # the disk may be what failed
                    reason = str(problem) or type(problem).__name__
                    self._record(task, time.monotonic() - started, f"failed: {reason}", lines)
                raise
        seconds = time.monotonic() - started
        self._record(task, seconds, "done", lines)
        self.pending.discard(task)
        self._changed.clear()
        self.note(f"made {len(self.made)} files in {seconds:.1f} s, peak memory {log.peak_memory():.0f} MB")

    def _record(self, task: str, seconds: float, status: str, lines: list[str]) -> None:
        """Add to ``provenance.json`` what a task did."""
        provenance.record(
            self.path("provenance"),
            task,
            self.params,
            self.made,
            pipeline=self.pipeline,
            namelist=self.settings.namelist.path,
            seconds=round(seconds, 3),
            megabytes=round(log.peak_memory()),
            status=status,
            log=[text.strip() for text in lines[:_LINES]],
        )
