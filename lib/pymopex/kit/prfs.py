"""The PRFs that a namelist names, normalised and made into one look-up table that all processes read."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import calibration_file, whole
from pymopex.kit.images import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from pymopex.kit.task import Run
    from pymopex.prf import PRF, PRFMap, PRFTable


def check_prfs(run: Run) -> list[str]:
    """Name a PRF, or a PRF map, that is missing or cannot be read."""
    keys = run.globals
    if not keys.PRFMAP_FILE_NAME and not keys.PRF_file_name:
        return [f"{run.settings.namelist.path}: no PRF is given: PRFMAP_FILE_NAME (-m) or PRF_file_name (-p)"]
    try:
        _sources(run)
    except InputError as problem:
        return [str(problem)]
    return []


def _sources(run: Run) -> tuple[list[str], np.ndarray]:
    """Give the PRF files and the regions of the array that they serve (the map wins over the single file)."""
    import numpy as np

    from pymopex.kit.prfmap import read_prf_map

    if not run.globals.PRFMAP_FILE_NAME:
        return [run.calibration("PRF_file_name")], np.array([[1, 1, 1, 1]])
    path = run.calibration("PRFMAP_FILE_NAME")
    found = read_prf_map(path)
    files = [calibration_file(name, relative_to=path) for name in found.files]
    return files, np.array(found.regions)


def save_table(run: Run, product: str = "prf_table") -> str:
    """Make the look-up table of the PRFs and save it for the jobs; gives its path.

    Raises
    ------
    InputError
        If a PRF cannot be used.
    """
    import numpy as np

    from pymopex.prf import prf_table

    files, regions = _sources(run)
    try:
        table = prf_table(_normalised(run, files))
    except ValueError as problem:
        raise InputError(f"{files[0]} and others: {problem}") from None
    path = run.path(product)
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            coefficients=table.coefficients,
            sampling=np.array([table.sampling_x, table.sampling_y]),
            regions=regions,
            central=np.array([_central(table, i) for i in range(len(files))]),
        )
    run.keep(path)
    run.note(f"{len(files)} PRFs, looked up with {table.sampling_x} samples per pixel")
    return path


def _normalised(run: Run, files: list[str]) -> Iterator[PRF]:
    import numpy as np

    from pymopex.prf import PRF

    p = run.params
    for path in files:
        samples, header = read_image(path, dtype=np.float64)
        said = header.get("PRFXRSMP", header.get("PRFSAMPX"))
        if said is not None and int(said) != p.PRF_ResampleX_Factor:
            raise InputError(
                f"{path}: its header says {said} samples per pixel; "
                f"PRF_ResampleX_Factor = {p.PRF_ResampleX_Factor} ({p.origin('PRF_ResampleX_Factor')})"
            )
        try:
            yield PRF(samples, p.PRF_ResampleX_Factor, p.PRF_ResampleY_Factor).normalised(
                p.Normalization_Radius
            )
        except ValueError as problem:
            raise InputError(f"{path}: {problem} (make_prf makes the form that the fit needs)") from None


def _central(table: Any, index: int) -> float:
    import numpy as np

    value, _, _ = table.evaluate(np.zeros(1), np.zeros(1), index)
    return float(value[0])


@lru_cache(maxsize=2)
def load_table(path: str) -> tuple[PRFTable, PRFMap, np.ndarray]:
    """Read a saved table: the table, the regions as a map for `index_at`, and the central values."""
    import numpy as np

    from pymopex.prf import PRF, PRFMap, PRFTable

    with np.load(path) as saved:
        coefficients, sampling = np.ascontiguousarray(saved["coefficients"]), saved["sampling"]
        regions, central = saved["regions"], saved["central"]
    blank = PRF(np.zeros((3, 3)), 1, 1)
    where = PRFMap([blank] * len(regions), regions)
    return PRFTable(coefficients, int(sampling[0]), int(sampling[1])), where, central
