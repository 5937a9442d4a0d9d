"""S/N Estimator: uncertainty images from gain, read noise and the frames themselves.

References
----------
MOPEX User's Guide, S/N Estimator, equation 6.2.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.sn_estimator import Detector


class _Settings(NamedTuple):
    """What the namelist tells of the noise; None where the header does."""

    gain: float
    read_noise: float | None
    confusion: float
    background: float | None
    keywords: tuple[str, ...]


_NOTABLE = 1.2  # scatter of the sky over its uncertainty that is told
_KEYS = {"exposure": "EXPTIME", "gain": "GAIN", "fluxconv": "FLUXCONV"}


def check(run: Run) -> list[str]:
    """Name frames whose headers do not tell what the namelist leaves open."""
    p = run.params
    try:
        keywords = _keywords(p)
    except InputError as problem:
        return [str(problem)]
    if p.Gain and p.Read_Noise is not None and not keywords:
        return []
    problems = run.map(_problem, [(files.image, _settings(p)) for files in run.frames()], "headers")
    return [problem for problem in problems if problem]


def run(run: Run) -> None:
    """Write ``<base>_sigma.fits`` for each frame, and ``SigmaList.txt``.

    Notes
    -----
    The uncertainty of a pixel is the root of the sum of the squares of read noise, confusion noise and photon noise. A
    negative pixel has no photon noise. Modules behind this one use the images made here.

    With ``Gain`` empty or 0 the gain of each frame comes from its header, EXPTIME * GAIN / FLUXCONV; with
    ``Read_Noise`` empty the read noise is RONOISE. In Overlap the frames are taken as they are listed, before the
    zodiacal light is subtracted: its photons make noise all the same.

    ``Subtracted_Background`` tells the background that was taken off the frames before, whose photons made noise too: a
    number in the unit of the frames, or keywords of the headers. Frames of IRAC lack the sky of the sky dark
    (SKYDRKZB); for frames from which all sky was taken, ZODY_EST + ISM_EST is the estimate. ``Sky_Scatter = 1`` (on in
    the templates) adds to the uncertainties of each frame, in squares, what the scatter of its sky has beyond them:
    photons of a background that no keyword tells, and noise of the dark and the flat image. The scatter is that of
    pixels without sources, from differences of pixels two apart, and is never taken as a reason to lower an
    uncertainty. The log tells when the sky scatters more than 20 per cent beyond the uncertainties.
    """
    p, stamp = run.params, run.stamp()
    jobs = [
        (files.image, _settings(p), p.Sky_Scatter, run.path("sigma", base=files.base), stamp)
        for files in run.frames()
    ]
    made = run.map(_estimate, jobs)
    paths = [job[3] for job in jobs]
    write_list(run.path("sigma_list"), paths)
    run.keep(run.path("sigma_list"), *paths)
    gains = [gain for gain, _ in made]
    run.note(f"{len(paths)} frames, {_span(gains)} electrons per image unit")
    _report_sky(run, [ratio for _, ratio in made])


def _settings(p: Any) -> _Settings:
    """Give what the namelist tells."""
    return _Settings(p.Gain, p.Read_Noise, p.Confusion_Sigma, _level(p), _keywords(p))


def _level(p: Any) -> float | None:
    """Give the subtracted background, if it is a number."""
    text = p.Subtracted_Background.strip()
    try:
        return float(text) if text else 0.0
    except ValueError:
        return None


def _keywords(p: Any) -> tuple[str, ...]:
    """Give the keywords whose sum is the subtracted background; none for a number."""
    import math

    text, level = p.Subtracted_Background.strip(), _level(p)
    names = () if level is not None else tuple(word.strip() for word in text.split("+"))
    if (level is not None and not (math.isfinite(level) and level >= 0)) or not all(
        re.fullmatch(r"[A-Za-z0-9_-]{1,8}", name) for name in names
    ):
        raise InputError(
            f"{p.origin('Subtracted_Background')}: SNESTIMATORIN.Subtracted_Background = {text}: a number from 0, "
            "or keywords of the headers joined by +, such as ZODY_EST + ISM_EST"
        )
    return names


def _span(values: list[float]) -> str:
    return f"{min(values):.6g}" + (f" to {max(values):.6g}" if max(values) > min(values) else "")


def _report_sky(run: Run, ratios: list[float]) -> None:
    """Tell how the scatter of the sky compares with the uncertainties."""
    import numpy as np

    known = [ratio for ratio in ratios if np.isfinite(ratio)]
    if not known:
        return
    added = [ratio for ratio in known if ratio > 1]
    if run.params.Sky_Scatter and added:
        run.note(
            f"uncertainties of {len(added)} frames raised to the scatter of their sky: {np.median(added):.3f} times "
            "in the median"
        )
        return
    notable = [ratio for ratio in known if ratio > _NOTABLE]
    if notable:
        run.note(
            f"the sky of {len(notable)} frames scatters {np.median(notable):.2f} times its uncertainty: a background "
            "may have been taken off; Subtracted_Background adds its photons, Sky_Scatter = 1 the noise that is missing"
        )


def _problem(job: Any) -> str:
    image, settings = job
    try:
        _detector(image, read_header(image), settings)
    except InputError as problem:
        return str(problem)
    return ""


def _estimate(job: Any) -> tuple[float, float]:
    """Write the uncertainties of a frame; gives its gain, and the scatter of its sky over its uncertainty."""
    import numpy as np
    from pymopex.sn_estimator import estimate_sigma, sky_of

    source, settings, scatter, target, stamp = job
    image, header = read_image(source, dtype="f4")
    detector = _detector(source, header, settings)
    sigma = estimate_sigma(image, detector)
    sky = sky_of(image, sigma)
    header["GAIN_IU"] = (detector.gain, "electrons per image unit")
    header["RDNOISE"] = (detector.read_noise, "[electrons] read noise")
    if detector.subtracted:
        header["SUBBACK"] = (detector.subtracted, "[image unit] background taken off before")
    if np.isfinite(sky.ratio):
        header["SKYSCAT"] = (sky.scatter, "[image unit] scatter of the sky")
    if scatter and sky.missing:
        header["SKYADDED"] = (sky.missing, "[image unit] noise added in squares")
        sigma = np.hypot(sigma, np.float32(sky.missing))
    write_image(target, sigma, header, stamp, (source,))
    return detector.gain, sky.ratio


def _detector(image: str, header: Any, settings: _Settings) -> Detector:
    """Take from the header what the namelist leaves open."""
    from pymopex.sn_estimator import Detector, electrons_per_unit

    gain, read_noise, background = settings.gain, settings.read_noise, settings.background
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
    if background is None:
        levels = [_number(image, header, key, "Subtracted_Background") for key in settings.keywords]
        background = max(0.0, sum(levels))  # an estimate of no sky at all may be a little below 0
    return Detector(gain, read_noise, settings.confusion, background)


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
