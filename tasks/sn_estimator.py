"""S/N Estimator: uncertainty images from gain, read noise and the frames themselves.

The uncertainty of a pixel is the root of the sum of the squares of read noise, confusion noise and photon noise. A
negative pixel has no photon noise. Modules behind this one use the images made here.

With Gain empty or 0 the gain of each frame comes from its header, EXPTIME * GAIN / FLUXCONV; with Read_Noise empty
the read noise is RONOISE. In Overlap the frames are taken as they are listed, before the zodiacal light is
subtracted: its photons make noise all the same.

References
----------
MOPEX User's Guide, S/N Estimator, equation 6.2.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.sn_estimator import Detector

_KEYS = {"exposure": "EXPTIME", "gain": "GAIN", "fluxconv": "FLUXCONV"}


def check(run: Run) -> list[str]:
    """Name frames whose headers do not tell what the namelist leaves open."""
    p = run.params
    if p.Gain and p.Read_Noise is not None:
        return []
    jobs = [(files.image, p.Gain, p.Read_Noise, p.Confusion_Sigma) for files in run.frames()]
    problems = run.map(_problem, jobs, "headers")
    return [problem for problem in problems if problem]


def run(run: Run) -> None:
    """Write ``<base>_sigma.fits`` for each frame, and ``SigmaList.txt``."""
    p, stamp = run.params, run.stamp()
    jobs = [
        (files.image, (p.Gain, p.Read_Noise, p.Confusion_Sigma), run.path("sigma", base=files.base), stamp)
        for files in run.frames()
    ]
    gains = run.map(_estimate, jobs)
    paths = [path for _, _, path, _ in jobs]
    write_list(run.path("sigma_list"), paths)
    run.keep(run.path("sigma_list"), *paths)
    span = f"{min(gains):.6g}" + (f" to {max(gains):.6g}" if max(gains) > min(gains) else "")
    run.note(f"{len(paths)} frames, {span} electrons per image unit")


def _problem(job: Any) -> str:
    image, *settings = job
    try:
        _detector(image, read_header(image), settings)
    except InputError as problem:
        return str(problem)
    return ""


def _estimate(job: Any) -> float:
    from pymopex.sn_estimator import estimate_sigma

    source, settings, target, stamp = job
    image, header = read_image(source, dtype="f4")
    detector = _detector(source, header, settings)
    header["GAIN_IU"] = (detector.gain, "electrons per image unit")
    header["RDNOISE"] = (detector.read_noise, "[electrons] read noise")
    write_image(target, estimate_sigma(image, detector), header, stamp, (source,))
    return detector.gain


def _detector(image: str, header: Any, settings: Any) -> Detector:
    """Take from the header what the namelist leaves open."""
    from pymopex.sn_estimator import Detector, electrons_per_unit

    gain, read_noise, confusion = settings
    if not gain:
        values = {name: _number(image, header, key, "Gain") for name, key in _KEYS.items()}
        try:
            gain = electrons_per_unit(**values)
        except ValueError as problem:
            words = str(problem).split()
            raise InputError(f"{image}: {' '.join([_KEYS[words[0]], *words[1:]])}") from None
    if read_noise is None:
        read_noise = _number(image, header, "RONOISE", "Read_Noise")
        if read_noise < 0:
            raise InputError(f"{image}: RONOISE = {read_noise} must not be negative")
    return Detector(gain, read_noise, confusion)


def _number(image: str, header: Any, key: str, parameter: str) -> float:
    import math

    value = header.get(key)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        state = "no" if value is None else "no number for"
        raise InputError(
            f"{os.path.normpath(image)}: {state} {key} in the header; give SNESTIMATORIN.{parameter}"
        )
    return number
