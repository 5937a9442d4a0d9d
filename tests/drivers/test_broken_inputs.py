"""Inputs broken in the ways of disks, archives and users: one clear message, status 2, nothing written, or it runs."""

import gzip
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import frame_checks


class Spoiled:
    """A copy of the tiny field, which is the working directory."""

    def __init__(self, mopex):
        self._mopex = mopex
        kinds = ("images", "sigmas", "masks")
        self.image, self.sigma, self.mask = ([Path(p) for p in self.lines(kind)] for kind in kinds)

    @staticmethod
    def lines(kind):
        return Path(f"{kind}.txt").read_text().split()

    @staticmethod
    def write(kind, names, start=b"", end=b"\n"):
        Path(f"{kind}.txt").write_bytes(start + b"".join(os.fsencode(str(name)) + end for name in names))

    def rename(self, kind, names):
        for old, new in zip(self.lines(kind), names, strict=True):
            os.rename(old, new)
        self.write(kind, names)

    def run(self, *words, pipeline="mosaic"):
        lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
        return self._mopex("drive", pipeline, "-n", f"{pipeline}_I1.nl", *lists, *words)

    def refused(self, reason, *words, pipeline="mosaic"):
        """Run what must be refused before anything is written."""
        before = listing()
        status, log = self.run(*words, pipeline=pipeline)
        assert status == 2, log
        assert "Traceback" not in log
        assert any(line.startswith("Error: ") and reason in line for line in log.splitlines()), log
        assert listing() == before


def listing():
    return sorted(str(path) for path in Path().rglob("*"))


@pytest.fixture
def spoiled(tiny, tmp_path, monkeypatch, mopex):
    shutil.copytree(tiny, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return Spoiled(mopex)


def card(path, key, value):
    """Write the text of a value into the card of a key as it is, or into the card of another key in its place."""
    content = path.read_bytes()
    at = content.find(key.ljust(8).encode() + b"=")
    assert at >= 0
    assert at % 80 == 0
    text = (content[at : at + 9].decode() + " " + value.rjust(20)).ljust(80)
    path.write_bytes(content[:at] + text.encode() + content[at + 80 :])


def change(path, pixels=lambda data: data, **cards):
    data, header = fits.getdata(path, header=True)
    header.update(cards)
    fits.writeto(path, pixels(data), header, overwrite=True)


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def table(path):
    rows = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), rows]).writeto(path, overwrite=True)


def turned(path):
    """Write the pixels lowest byte first, as a program without FITS does."""
    data, header = fits.getdata(path, header=True)
    fits.writeto(path, data.byteswap(), header, overwrite=True)


def replaced(path, make):
    path.unlink()
    make(path)


SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "B_2_0": 1e-6}
FRAMES = {
    "cut in its pixels": (cut, "cannot be read as FITS"),
    "cut in its header": (lambda p: cut(p, 0.04), "cannot be read as FITS"),
    "BITPIX of another type": (lambda p: card(p, "BITPIX", "-64"), "its header tells of"),
    "BITPIX that is none": (lambda p: card(p, "BITPIX", "7"), "cannot be read as FITS"),
    "BITPIX that is text": (lambda p: card(p, "BITPIX", "'x'"), "cannot be read as FITS"),
    "a side too long": (lambda p: card(p, "NAXIS1", "9999999999"), "its header tells of"),
    "a side below zero": (lambda p: card(p, "NAXIS1", "-48"), "an image holds one at least"),
    "a cube": (lambda p: change(p, lambda d: np.stack([d, d])), "has 3 axes"),
    "one axis": (lambda p: change(p, lambda d: d[0]), "has 1 axes"),
    "no HDU with pixels": (lambda p: fits.PrimaryHDU().writeto(p, overwrite=True), "has 0 axes"),
    "a table": (table, "holds a table"),
    "a folder": (lambda p: replaced(p, Path.mkdir), "Is a directory"),
    "a broken link": (lambda p: replaced(p, lambda q: q.symlink_to("none")), "no such file"),
    "a link to itself": (lambda p: replaced(p, lambda q: q.symlink_to(q.name)), "cannot be read as FITS"),
    "a pipe": (lambda p: replaced(p, os.mkfifo), "is a pipe"),
    "all NaN": (lambda p: change(p, lambda d: d * np.nan), "holds no finite pixel"),
    "turned bytes": (turned, "wrong byte order"),
    "turned bytes of doubles": (
        lambda p: (change(p, lambda d: d.astype("f8")), turned(p)),
        "wrong byte order",
    ),
    "turned bytes of whole numbers": (
        lambda p: (change(p, lambda d: np.round(d * 100)), turned(p)),
        "wrong byte order",
    ),
    "all infinite": (lambda p: change(p, lambda d: d * 0 + np.inf), "holds no finite pixel"),
    "a CD matrix of zeros": (
        lambda p: change(p, CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0),
        "matrix is singular",
    ),
    "parallel axes": (
        lambda p: change(p, CD1_1=1e-4, CD1_2=1e-4, CD2_1=1e-4, CD2_2=1e-4),
        "the axes of the CD matrix are parallel",
    ),
    "pixels of a degree": (lambda p: change(p, CD1_1=1.0, CD1_2=0.0, CD2_1=0.0, CD2_2=1.0), "are possible"),
    "pixels of nothing": (
        lambda p: change(p, CD1_1=1e-12, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-12),
        "are possible",
    ),
    "a wild distortion": (lambda p: change(p, **SIP, A_2_0=1e6), "the distortion (SIP) moves a corner"),
    "an unknown projection": (
        lambda p: change(p, CTYPE1="FOO--BAR", CTYPE2="BAZ--BAR"),
        "world coordinates cannot be used",
    ),
    "the other hemisphere": (
        lambda p: change(p, CRVAL1=fits.getval(p, "CRVAL1") + 180, CRVAL2=-fits.getval(p, "CRVAL2")),
        "lies 180 degrees from the middle",
    ),
    "another field": (lambda p: change(p, CRVAL1=fits.getval(p, "CRVAL1") + 60), "degrees from the middle"),
}
SIGMAS = {
    "all zero": (lambda p: change(p, lambda d: d * 0), "an uncertainty above zero"),
    "all negative": (lambda p: change(p, lambda d: -d), "an uncertainty above zero"),
    "all NaN": (lambda p: change(p, lambda d: d * np.nan), "an uncertainty above zero"),
    "turned bytes": (turned, "wrong byte order"),
    "cut": (cut, "its header tells of"),
    "a cube": (lambda p: change(p, lambda d: np.stack([d, d])), "has 3 axes"),
    "a folder": (lambda p: replaced(p, Path.mkdir), "Is a directory"),
}
MASKS = {
    "all set": (lambda p: change(p, lambda d: d * 0 + 32767), "all its pixels are masked"),
    "another size": (lambda p: change(p, lambda d: d[:40]), "is 48 x 40 pixels; the frame is 48 x 48"),
    "a cube": (lambda p: change(p, lambda d: np.stack([d, d])), "has 3 axes"),
    "cut": (lambda p: cut(p, 0.3), "cannot be read as FITS"),
    "all NaN": (lambda p: change(p, lambda d: d * np.float32(np.nan)), "all its pixels are masked"),
}


@pytest.mark.parametrize("what", FRAMES)
def test_frame(spoiled, what):
    spoil, reason = FRAMES[what]
    spoil(spoiled.image[1])
    spoiled.refused(reason)


@pytest.mark.parametrize("what", SIGMAS)
def test_uncertainties(spoiled, what):
    spoil, reason = SIGMAS[what]
    spoil(spoiled.sigma[1])
    spoiled.refused(reason)


@pytest.mark.parametrize("what", MASKS)
def test_mask(spoiled, what):
    spoil, reason = MASKS[what]
    spoil(spoiled.mask[1])
    spoiled.refused(reason)


@pytest.mark.parametrize("key", ["CRVAL1", "CRVAL2", "CRPIX1", "CD1_1"])
@pytest.mark.parametrize("value", ["NaN", "Inf", "1E400", "'abc'", ""])
def test_world_coordinates_that_are_no_numbers(spoiled, key, value):
    card(spoiled.image[1], key, value)
    spoiled.refused(f"{key}: not a finite number")


@pytest.mark.parametrize("what", ["all NaN", "another field", "a pipe"])
def test_bad_frame_is_left_out_on_request(spoiled, what):
    spoil, reason = FRAMES[what]
    spoil(spoiled.image[1])
    status, log = spoiled.run("--skip-bad-frames", pipeline="overlap")
    assert status == 0, log
    assert any("left out" in line and reason in line for line in log.splitlines())


def test_archive_of_half_a_frame(spoiled):
    packed = gzip.compress(spoiled.image[1].read_bytes())
    Path("half.fits.gz").write_bytes(packed[: len(packed) // 2])
    spoiled.write("images", [spoiled.image[0], "half.fits.gz", *spoiled.image[2:]])
    spoiled.refused("half.fits.gz: cannot be read as FITS")


@pytest.mark.parametrize("lists", [("sigmas", "images"), ("masks", "images"), ("masks", "sigmas")])
def test_one_list_for_two_things(spoiled, lists):
    wrong, right = lists
    key = {"sigmas": "SIGMALIST_FILE_NAME", "masks": "DCE_STATUS_MASK_LIST"}[wrong]
    what = {"images": "frames", "sigmas": "uncertainty images"}[right]
    spoiled.refused(f"{key} = {right}.txt: lists the {what}", f"{key}={right}.txt")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_image_is_its_own_uncertainty(spoiled, link):
    spoiled.sigma[2].unlink()
    link(os.path.abspath(spoiled.image[2]), spoiled.sigma[2])
    spoiled.refused(f"{spoiled.sigma[2]}: is the frame {spoiled.image[2]} itself, listed as its uncertainty")


def test_uncertainty_is_a_mask(spoiled):
    spoiled.write("masks", [*spoiled.mask[:3], spoiled.sigma[3]])
    spoiled.refused(f"{spoiled.sigma[3]}: is the uncertainty image")


def test_image_of_a_single_run_is_its_own_uncertainty(spoiled, mopex):
    words = ("-i", spoiled.image[0], "-s", spoiled.image[0], "-O", "out")
    assert mopex("new", "apex_1frame", "I1")[0] == 0
    status, log = mopex("drive", "apex_1frame", "-n", "apex_1frame_I1.nl", *words)
    assert status == 2
    assert (
        f"Error: {spoiled.image[0]}: is the frame {spoiled.image[0]} itself, listed as its uncertainty image"
        in log
    )


@pytest.mark.parametrize("kind", ["images", "sigmas", "FIF"])
def test_list_that_is_a_pipe(spoiled, kind):
    path = Path(f"{kind}.txt")
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    words = ("FIF_FILE_NAME=FIF.txt", "run_fiducial_image_frame=0") if kind == "FIF" else ()
    spoiled.refused(f"{kind}.txt: is a pipe; a file that can be read again is needed", *words)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-20, 1e6, 0.0])
def test_right_byte_order_is_not_taken_for_wrong(scale):
    noise = np.random.default_rng(4).normal(0.1, 0.05, (32, 48))
    for pixels in (noise, np.round(noise * 1e3), np.where(noise > 0.1, noise, 0)):
        for dtype in ("f4", "f8", ">f4"):
            assert not frame_checks._is_turned((pixels * scale).astype(dtype))


def test_lists_in_different_order(spoiled):
    spoiled.write("sigmas", spoiled.sigma[::-1])
    spoiled.refused("lists must have one order")


def test_one_uncertainty_for_two_frames(spoiled):
    spoiled.write("sigmas", [spoiled.sigma[0], *spoiled.sigma[:1], *spoiled.sigma[2:]])
    spoiled.refused("lists must have one order")


def test_frame_listed_under_the_name_of_a_link(spoiled):
    Path("bcd/other.fits").symlink_to(spoiled.image[0].name)
    spoiled.write("images", [*spoiled.image, "bcd/other.fits"])
    for kind in ("sigmas", "masks"):
        spoiled.write(kind, [*spoiled.lines(kind), spoiled.lines(kind)[0]])
    spoiled.refused("bcd/other.fits: is the same file as")


def test_name_that_is_not_utf8(spoiled):
    names = [os.fsdecode(b"bcd/\xe9%d.fits" % i) for i in range(4)]
    spoiled.rename("images", names)
    spoiled.refused("the name is not UTF-8")


def test_ten_thousand_lines(spoiled):
    for kind in ("images", "sigmas", "masks"):
        spoiled.write(kind, [f"bcd/{kind}_{i}.fits" for i in range(10_000)])
    spoiled.refused("bcd/images_9999.fits: no such file")


def test_output_that_is_a_file(spoiled):
    Path("out").write_text("mine")
    spoiled.refused("out: cannot be a folder: a file is in the way")
    assert Path("out").read_text() == "mine"


# ---- odd, and yet it runs


def scaled(path):
    """Store a frame as integers with a factor."""
    data, header = fits.getdata(path, header=True)
    hdu = fits.PrimaryHDU(data, header)
    hdu.scale("int16", bscale=1e-3, bzero=0)
    hdu.writeto(path, overwrite=True)


def zipped(path):
    data, header = fits.getdata(path, header=True)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header)]).writeto(path, overwrite=True)


@pytest.mark.parametrize("store", [scaled, zipped])
def test_scaled_and_compressed_frames(spoiled, store):
    for path in spoiled.image:
        store(path)
    assert spoiled.run(pipeline="overlap")[0] == 0


@pytest.mark.parametrize(
    "place", [lambda i: (90.0 * i, 89.999), lambda i: ((359.997 + 0.003 * i) % 360, 0.0)]
)
def test_frames_at_the_pole_and_across_zero(spoiled, place):
    for i, path in enumerate(spoiled.image):
        change(path, CRVAL1=place(i)[0], CRVAL2=place(i)[1])
    status, log = spoiled.run()
    assert status == 0, log
    assert max(fits.getdata("out/Combine-mosaic/mosaic.fits").shape) < 400


def test_odd_names_lists_and_headers_run_and_run_nothing(spoiled):
    spoiled.rename(
        "images", [f"bcd/a b é 星 $(touch hacked) `touch hacked`;%s{{0}} {i}.fits" for i in range(4)]
    )
    spoiled.write("sigmas", spoiled.sigma, b"\xef\xbb\xbf", b"\r\n")
    names = [line for line in Path("images.txt").read_text().splitlines() if line]
    content = Path(names[0]).read_bytes()
    at = content.find(b"TELESCOP")
    Path(names[0]).write_bytes(content[:at] + b"T\xc9LESCOP" + content[at + 8 :])
    change(Path(names[1]), OBJECT="$(touch hacked); __import__('os')")
    status, log = spoiled.run(pipeline="overlap")
    assert status == 0, log
    assert not list(Path().rglob("hacked"))


# ---- nothing runs code, writes elsewhere, or reaches the network


@pytest.mark.parametrize(
    "value", ["__import__('os').mkdir('hacked')", "$(mkdir hacked)", "`mkdir hacked`", "().x"]
)
def test_conditions_run_no_code(spoiled, value):
    status, log = spoiled.run(f"select_conditions={value}", pipeline="apex")
    assert status == 2, log
    assert "select_conditions" in log
    assert not Path("hacked").exists()


def test_pickles_are_no_images(spoiled):
    class Trap:
        def __reduce__(self):
            return os.mkdir, ("hacked",)

    spoiled.image[1].write_bytes(pickle.dumps(Trap()))
    np.savez("trap.npz", a=np.array([Trap()], dtype=object))
    shutil.move("trap.npz", spoiled.mask[2])
    spoiled.refused("cannot be read as FITS")
    assert not Path("hacked").exists()


WATCH = """
import sys
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "os.system", "subprocess.Popen"):
        print("FORBIDDEN", event, args)
sys.addaudithook(hook)
from pymopex.kit.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_opens_no_connection_and_starts_no_program(spoiled):
    lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
    words = ("drive", "overlap", "-n", "overlap_I1.nl", *lists, "do_multiprocess=off", "create_report=0")
    before = set(listing())
    done = subprocess.run([sys.executable, "-c", WATCH, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FORBIDDEN" not in done.stdout
    assert all(name.split("/")[0] == "out" for name in set(listing()) - before)


# ---- the same bits


def sums():
    """Sum up the pixels of all images of a run."""
    paths = sorted(Path("out").rglob("*.fits"))
    return {str(path): hashlib.sha256(fits.getdata(path).tobytes()).hexdigest() for path in paths}


def test_same_bits_on_one_to_eight_processes_twice_and_as_run(spoiled, mopex):
    seen = []
    for count in (1, 2, 8, 1):
        shutil.rmtree("out", ignore_errors=True)
        assert spoiled.run("do_multiprocess=manual", f"ncpu_multiprocess={count}")[0] == 0
        seen.append(sums())
    shutil.copy("out/mosaic_I1.nl", "again.nl")
    shutil.rmtree("out")
    status, log = mopex("drive", "mosaic", "-n", "again.nl")
    assert status == 0, log
    seen.append(sums())
    assert seen[0]
    assert all(found == seen[0] for found in seen[1:])
