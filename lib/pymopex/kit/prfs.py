"""The PRFs that a namelist names, normalised and made into one look-up table that all processes read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit import sheets
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.files import calibration_file, remembered, whole
from pymopex.kit.images import keyword_of, read_cards, read_header, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from pymopex.kit.task import Run
    from pymopex.prf import PRF, PRFGrid, PRFMap, PRFTable


def check_prfs(run: Run) -> list[str]:
    """Name a PRF, or a PRF map, that is missing or cannot be read."""
    if not _key(run):
        if run.task in _OWN:
            return [f"{run.settings.namelist.path}: no PRF is given: MOSAIC_PRF_file_name (-P)"]
        return [f"{run.settings.namelist.path}: no PRF is given: PRFMAP_FILE_NAME (-m) or PRF_file_name (-p)"]
    try:
        files, regions = _sources(run)
        problems = _of_all(files, lambda path: _unusable(run, path))
        if _bilinear(run) and not problems:
            _check_grid(run, *_places(files, regions))
    except InputError as problem:
        return [str(problem)]
    return problems


def _of_all(files: list[str], check: Callable[[str], list[str]]) -> list[str]:
    """Give what is wrong with files; what is wrong with several alike is said once, with their number."""
    found: dict[str, list[str]] = {}
    for path in dict.fromkeys(files):
        for text in check(path):
            found.setdefault(text.removeprefix(path), []).append(path)
    return [
        f"{paths[0]}{f' and {len(paths) - 1} more of the map' if len(paths) > 1 else ''}{reason}"
        for reason, paths in found.items()
    ]


def _unusable(run: Run, path: str) -> list[str]:
    """Tell by its header why a PRF cannot be used."""
    try:
        header = read_header(path)
    except InputError as problem:
        return [str(problem)]
    nx, ny = header.get("NAXIS1", 0), header.get("NAXIS2", 0)
    if header.get("NAXIS") != 2:
        return [f"{path}: has {header.get('NAXIS')} axes; the samples of a PRF are an image"]
    if nx % 2 == 0 or ny % 2 == 0:
        return [
            f"{path}: is {nx} x {ny} samples; a PRF has odd axes and the source in the middle (make_prf makes it so)"
        ]
    return problems_of_sampling(run, path)


def problems_of_sampling(run: Run, path: str) -> list[str]:
    """Tell where the samples per pixel of the task at work are not those that the header of a PRF tells, if it does."""
    problems, cards = [], read_cards(path)
    for axis in "XY":
        told = (keyword_of(cards, name) for name in (f"PRF{axis}RSMP", f"PRFSAMP{axis}"))
        said, key = next((value for value in told if value is not None), None), f"PRF_Resample{axis}_Factor"
        given = getattr(run.params, key)
        if isinstance(said, (int, float)) and said != given:
            block, origin = sheets.sheet(run.task).block, run.params.origin(key)
            problems.append(
                f"{path}: its header says {said:g} samples per pixel along {axis.lower()}; "
                f"{block}.{key} = {given} ({origin})"
            )
    return problems


def _bilinear(run: Run) -> bool:
    return getattr(run.params, "PRF_Interpolation", "nearest") == "bilinear"


def _check_grid(run: Run, x: np.ndarray, y: np.ndarray) -> None:
    from pymopex.prf import PRFGrid

    try:
        PRFGrid(x, y)
    except ValueError as problem:
        where = run.params.origin("PRF_Interpolation")
        raise InputError(f"{where}: PRF_Interpolation = bilinear: {problem}") from None


def _places(files: list[str], regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the place on the array of each PRF: by its header, else the middle of its region."""
    import numpy as np

    x, y = (regions[:, k] + (regions[:, k + 2] - 1) / 2 for k in (0, 1))
    for i, path in enumerate(files):
        header = read_header(path)
        try:
            x[i], y[i] = float(header["PRFCOL"]), float(header["PRFROW"])
        except (KeyError, ValueError, TypeError):
            continue
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


_OF_FRAMES = ("PRFMAP_FILE_NAME", "PRF_file_name")
_OWN = {"mosaic_pointsourceimage": ("MOSAIC_PRF_file_name", *_OF_FRAMES)}


def _key(run: Run) -> str:
    """Tell which key names the PRFs of the task at work: the first that is set; a map wins over a single file."""
    keys = _OWN.get(run.task, _OF_FRAMES)
    return next((key for key in keys if getattr(run.globals, key)), "")


def save_map(run: Run) -> None:
    """Write the PRF map of one line that a single PRF file for the whole image amounts to."""
    from pymopex.kit.images import read_header
    from pymopex.kit.prfmap import PrfMapTable, write_prf_map

    if _key(run) != "PRF_file_name":
        return
    source, target = run.calibration("PRF_file_name"), run.path("prf_map")
    image, prf = read_header(run.frames()[0].image), read_header(source)
    region = (1, 1, image["NAXIS1"], image["NAXIS2"])
    with whole(target) as temporary:
        write_prf_map(temporary, PrfMapTable([source], [region], (prf["NAXIS1"], prf["NAXIS2"])))
    run.keep(target)


def _sources(run: Run) -> tuple[list[str], np.ndarray]:
    """Give the PRF files and the regions of the array that they serve."""
    import numpy as np

    from pymopex.kit.prfmap import read_prf_map

    key = _key(run)
    if key != "PRFMAP_FILE_NAME":
        return [run.calibration(key)], np.array([[1, 1, 1, 1]])
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
    bilinear = _bilinear(run)
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            coefficients=table.coefficients,
            sampling=np.array([table.sampling_x, table.sampling_y]),
            regions=regions,
            places=np.array(_places(files, regions) if bilinear else np.zeros((2, 0))),
            central=np.array([_central(table, i) for i in range(len(files))]),
        )
    run.keep(path)
    mixed = ", interpolated between their places" if bilinear else ""
    run.note(f"{len(files)} PRFs, looked up with {table.sampling_x} samples per pixel{mixed}")
    return path


def _normalised(run: Run, files: list[str]) -> Iterator[PRF]:
    """Give the PRFs, thinned out to what a look-up table holds of them."""
    from pymopex.prf import PRF

    p = run.params
    for path in files:
        problems = problems_of_sampling(run, path)
        if problems:
            raise InputErrors(problems)
        factors, radius = (p.PRF_ResampleX_Factor, p.PRF_ResampleY_Factor), p.Normalization_Radius
        samples, every = _needed(path, *factors)
        try:
            yield PRF(samples, *(factor // every for factor in factors)).normalised(
                None if radius is None else radius / every
            )
        except ValueError as problem:
            raise InputError(f"{path}: {problem} (make_prf makes the form that the fit needs)") from None


def _needed(path: str, factor_x: int, factor_y: int) -> tuple[np.ndarray, int]:
    """Read what the table and the norm of a PRF need of its samples, and give this every how manyth sample is."""
    import numpy as np

    from pymopex.kit import plain_fits
    from pymopex.prf import stride

    every, plain = stride(factor_x), plain_fits.place_of(path)
    if plain is None or every != stride(factor_y) or len(plain.shape) != 2 or 0 in np.mod(plain.shape, 2):
        return read_image(path, dtype=np.float64)[0], 1
    ny, nx = plain.shape
    lines = np.empty((len(range(ny // 2 % every, ny, every)), nx), plain.dtype)
    with open(path, "rb") as file:
        for line, row in zip(lines, range(ny // 2 % every, ny, every), strict=True):
            file.seek(plain.offset + row * line.nbytes)
            file.readinto(memoryview(line).cast("B"))
    return np.ascontiguousarray(lines[:, nx // 2 % every :: every], dtype=np.float64), every


def _central(table: Any, index: int) -> float:
    import numpy as np

    value, _, _ = table.evaluate(np.zeros(1), np.zeros(1), index)
    return float(value[0])


@remembered(maxsize=2)
def load_table(path: str) -> tuple[PRFTable, PRFMap | PRFGrid, np.ndarray]:
    """Read a saved table: the table, what serves which place of the array (`mix_at`), and the central values."""
    import numpy as np

    from pymopex.prf import PRF, PRFGrid, PRFMap, PRFTable

    with np.load(path) as saved:
        coefficients, sampling = np.ascontiguousarray(saved["coefficients"]), saved["sampling"]
        regions, central = saved["regions"], saved["central"]
        places = saved["places"] if "places" in saved.files else np.zeros((2, 0))
    table = PRFTable.of(coefficients, int(sampling[0]), int(sampling[1]))
    if places.size:
        return table, PRFGrid(*places), central
    blank = PRF(np.zeros((3, 3)), 1, 1)
    where = PRFMap([blank] * len(regions), regions)
    return table, where, central
