"""Facts about the Spitzer cameras that the simulator needs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Band:
    """The light that a camera sees, and how sharply.

    Parameters
    ----------
    wavelength : float
        Effective wavelength [micrometre].
    width : float
        Full width of the band over the wavelength.
    blur : float
        Standard deviation of a round Gaussian for the jitter of the telescope and the figure of its mirror [arcsec].
    fwhm : float
        Published mean full width at half maximum of a point source [arcsec].
    """

    wavelength: float
    width: float
    blur: float
    fwhm: float


@dataclass(frozen=True)
class Distortion:
    """SIP coefficients of the terms (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)."""

    a: tuple[float, ...]
    b: tuple[float, ...]

    POWERS = ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


@dataclass(frozen=True)
class Instrument:
    """One camera of Spitzer.

    Parameters
    ----------
    key : str
        Code in file names: I1 to I4, M1 to M3.
    name : str
        INSTRUME of the header.
    channel : int
        CHNLNUM of the header.
    size : int
        Columns of the array [pixel].
    pixel : (float, float)
        Pixel along x and along y [arcsec].
    band : Band
        Wavelength and width of the point response.
    distortion : Distortion
        Typical of the camera.
    gain : float
        Electrons per DN.
    read_noise : float
        Per frame [electrons].
    fluxconv : float
        Surface brightness of 1 DN/s [MJy/sr].
    dead_time : float
        FRAMTIME minus EXPTIME [s].
    well : float
        Electrons at which a pixel saturates, about.
    endings : (str, str, str)
        Of the file names of image, uncertainty and mask.
    rows : int or None
        Rows of the array [pixel]; None is as many as columns.
    typical : dict
        Values of parameters that are left open (keys as in `pymopex.simulation.simulation`).
    """

    key: str
    name: str
    channel: int
    size: int
    pixel: tuple[float, float]
    band: Band
    distortion: Distortion
    gain: float
    read_noise: float
    fluxconv: float
    dead_time: float
    well: float
    endings: tuple[str, str, str] = ("cbcd", "cbunc", "bimsk")
    rows: int | None = None
    typical: dict[str, float] = field(default_factory=dict, hash=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the array."""
        return self.rows or self.size, self.size

    def electrons(self, exposure: float) -> float:
        """Give the electrons that 1 MJy/sr makes in a pixel in an exposure [s]."""
        return exposure * self.gain / self.fluxconv


def _typical(exposure: float, density: float, fluxes: tuple[float, float], sky: float, rms: float) -> dict:
    keys = ("exposure", "star_density", "faintest_flux", "brightest_flux", "background", "offset_rms")
    return dict(zip(keys, (exposure, density, *fluxes, sky, rms), strict=True))


_NO_DISTORTION = Distortion((0.0,) * 7, (0.0,) * 7)

INSTRUMENTS = {
    one.key: one
    for one in (
        Instrument(
            "I1",
            "IRAC",
            1,
            256,
            (1.221, 1.221),
            Band(3.55, 0.21, 0.42, 1.66),
            Distortion(
                (-1.8e-5, 2.1e-5, 3.0e-6, -2.1e-7, 1.0e-8, -2.1e-7, 7.0e-9),
                (-2.0e-6, -2.3e-5, 2.4e-5, 3.0e-8, -1.9e-7, -1.0e-9, -1.7e-7),
            ),
            gain=3.7,
            read_noise=21.0,
            fluxconv=0.1257,
            dead_time=6.4,
            well=125e3,
            typical=_typical(93.6, 30000, (5, 20000), 0.12, 0.02),
        ),
        Instrument(
            "I2",
            "IRAC",
            2,
            256,
            (1.213, 1.213),
            Band(4.49, 0.23, 0.43, 1.72),
            Distortion(
                (2.1e-5, 3.0e-5, 1.0e-6, -1.6e-7, 7.0e-9, -2.0e-7, -2.0e-9),
                (4.0e-6, 1.9e-5, 3.5e-5, -3.0e-9, -2.1e-7, 0.0, -1.7e-7),
            ),
            gain=3.71,
            read_noise=16.0,
            fluxconv=0.1447,
            dead_time=3.2,
            well=125e3,
            typical=_typical(96.8, 30000, (5, 20000), 0.3, 0.02),
        ),
        Instrument(
            "I3",
            "IRAC",
            3,
            256,
            (1.222, 1.222),
            Band(5.73, 0.25, 0.46, 1.88),
            Distortion(
                (-1.6e-5, 3.6e-5, -4.0e-6, -1.6e-7, -1.0e-9, -1.6e-7, -1.0e-9),
                (-8.0e-6, -1.0e-5, 2.5e-5, -1.2e-8, -1.7e-7, 8.0e-9, -1.6e-7),
            ),
            gain=3.8,
            read_noise=9.1,
            fluxconv=0.5952,
            dead_time=3.2,
            well=145e3,
            typical=_typical(96.8, 8000, (40, 100000), 2.0, 0.05),
        ),
        Instrument(
            "I4",
            "IRAC",
            4,
            256,
            (1.220, 1.220),
            Band(7.87, 0.37, 0.20, 1.98),
            Distortion(
                (2.8e-5, 4.8e-5, 9.0e-6, -1.9e-7, 3.3e-8, -1.7e-7, 5.0e-9),
                (-6.0e-6, 1.5e-5, 4.1e-5, 0.0, -1.8e-7, 2.2e-8, -1.9e-7),
            ),
            gain=3.8,
            read_noise=7.1,
            fluxconv=0.2021,
            dead_time=3.2,
            well=170e3,
            typical=_typical(46.8, 8000, (40, 100000), 6.0, 0.1),
        ),
        Instrument(
            "M1",
            "MIPS",
            1,
            128,
            (2.49, 2.60),
            Band(23.7, 0.20, 0.80, 5.9),
            Distortion(
                (0.0, 5.0e-5, -2.0e-5, -1.0e-7, 0.0, -1.0e-7, 0.0),
                (4.0e-5, 1.0e-5, 6.0e-5, 0.0, -1.0e-7, 0.0, -1.0e-7),
            ),
            gain=5.0,
            read_noise=40.0,
            fluxconv=0.0454,
            dead_time=0.52,
            well=300e3,
            endings=("bcd", "bunc", "bbmsk"),
            typical=_typical(9.96, 3000, (400, 500000), 25.0, 0.2),
        ),
        Instrument(
            "M2",
            "MIPS",
            2,
            32,
            (9.85, 10.06),
            Band(71.4, 0.27, 2.5, 18.0),
            _NO_DISTORTION,
            gain=1000.0,
            read_noise=18.0,
            fluxconv=702.0,
            dead_time=0.52,
            well=1e5,
            endings=("bcd", "bunc", "bmask"),
            typical=_typical(10.0, 300, (20000, 5e6), 8.0, 0.3),
        ),
        Instrument(
            "M3",
            "MIPS",
            3,
            20,
            (15.96, 18.04),
            Band(155.9, 0.22, 6.5, 40.0),
            _NO_DISTORTION,
            gain=60.0,
            read_noise=50.0,
            fluxconv=41.7,
            dead_time=0.52,
            well=1e5,
            endings=("bcd", "bunc", "bmask"),
            rows=2,
            typical=_typical(10.0, 100, (100000, 2e7), 20.0, 0.5),
        ),
    )
}
"""The cameras by their key.

Pixel scales, gains, read noise and calibration are of the size given in the instrument handbooks and in headers of the
archive; distortions are rounded values typical of the cameras. Saturation levels are approximate. Of MIPS 70 and 160
micron gain and read noise stand for the sensitivity of the handbook; the arrays are whole (the real ones have dead
parts) and without distortion.
"""
