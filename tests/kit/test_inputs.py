import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import namelist
from pymopex.kit.errors import InputErrors
from pymopex.kit.frame_checks import check_frames
from pymopex.kit.inputs import frame_files
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run

WCS = {
    **{
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRPIX1": 4.0,
        "CRPIX2": 4.0,
        "CRVAL1": 10.0,
        "CRVAL2": 20.0,
    },
    **{"CD1_1": -3e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3e-4},
}


def image(path, shape=(8, 8), **cards):
    header = fits.Header()
    header.update(cards)
    fits.PrimaryHDU(np.ones(shape, "f4"), header).writeto(path, overwrite=True)
    return str(path)


class Lists:
    """Three frames with their companions in a folder; lists and namelist that name them."""

    def __init__(self, folder):
        self.folder = folder
        self.lists = {kind: [f"{kind}{i}.fits" for i in range(3)] for kind in ("image", "sigma", "mask")}
        for kind, names in self.lists.items():
            for name in names:
                image(folder / name, **(WCS if kind == "image" else {}))

    def run(self, **keys):
        for kind, names in self.lists.items():
            (self.folder / f"{kind}s.txt").write_text("".join(f"{name}\n" for name in names))
        known = {
            "IMAGE_STACK_FILE_NAME": self.folder / "images.txt",
            "SIGMALIST_FILE_NAME": self.folder / "sigmas.txt",
            "DCE_STATUS_MASK_LIST": self.folder / "masks.txt",
            "DCE_Status_Mask_Fatal_BitPattern": "32520",
            **keys,
        }
        text = "".join(f"{key} = {value}\n" for key, value in known.items())
        run = Run(Settings(namelist.parse(text, "a.nl"), "mosaic"), Pool(1))
        run.task = "medfilter"
        return run

    def problems(self, **keys):
        with pytest.raises(InputErrors) as raised:
            check_frames(self.run(**keys))
        return raised.value.problems


@pytest.fixture
def lists(tmp_path):
    return Lists(tmp_path)


def test_good_frames(lists):
    run = lists.run()
    check_frames(run)
    frames = run.frames()
    assert [files.base for files in frames] == ["image0", "image1", "image2"]
    assert [files.index for files in frames] == [0, 1, 2]
    assert frames[2].sigma == str(lists.folder / "sigma2.fits")
    assert frames[2].dmask == str(lists.folder / "mask2.fits")
    assert (frames[2].rmask, frames[2].pmask) == ("", "")


def test_lists_of_different_length(lists):
    del lists.lists["sigma"][2]
    problems = lists.problems()
    assert len(problems) == 1
    assert "sigmas.txt: has 2 entries" in problems[0]
    assert "images.txt has 3 (one line per frame in each list)" in problems[0]


def test_empty_list(lists):
    lists.lists["image"] = ["# nothing"]
    assert "the list of frames is empty" in lists.problems()[0]


def test_no_list(lists):
    problems = lists.problems(IMAGE_STACK_FILE_NAME="")
    assert problems == [
        "IMAGE_STACK_FILE_NAME: no list of frames is given, neither in the namelist nor with -I"
    ]


def test_missing_lists_are_named_together_with_their_line(lists):
    problems = lists.problems(SIGMALIST_FILE_NAME="none.txt", RMASK_LIST="nothing.txt")
    assert problems == [
        "a.nl:2: SIGMALIST_FILE_NAME = none.txt: no such file",
        "a.nl:5: RMASK_LIST = nothing.txt: no such file",
    ]


def test_uncertainties_can_be_switched_off(lists):
    run = lists.run(SIGMALIST_FILE_NAME="none.txt", have_uncertainties=0)
    check_frames(run)
    assert {files.sigma for files in run.frames()} == {""}


def test_frames_of_one_name(lists):
    (lists.folder / "more").mkdir()
    lists.lists["image"][2] = "more/image0.fits"
    image(lists.folder / "more" / "image0.fits", **WCS)
    assert "has the same file name as" in lists.problems()[0]


def test_missing_frames_and_companions_are_named_together(lists):
    lists.lists["image"][0] = "none.fits"
    lists.lists["sigma"][1] = "nothing.fits"
    assert lists.problems() == ["none.fits: no such file", "nothing.fits: no such file"]


def test_companion_of_another_size(lists):
    image(lists.folder / "mask1.fits", (8, 9))
    assert lists.problems() == [f"{lists.folder}/mask1.fits: is 9 x 8 pixels; the frame is 8 x 8"]


def test_companion_that_is_no_fits(lists):
    (lists.folder / "sigma1.fits").write_text("text")
    assert "sigma1.fits: cannot be read as FITS" in lists.problems()[0]


def test_frame_that_is_a_cube(lists):
    image(lists.folder / "image1.fits", (2, 8, 8), **WCS)
    assert lists.problems() == [
        f"{lists.folder}/image1.fits: has 3 axes; a two-dimensional image is needed",
    ]


def test_frame_without_world_coordinates(lists):
    image(lists.folder / "image1.fits", CRVAL1=10.0, CRPIX1=4.0)
    missing = "CTYPE1, CTYPE2, CRVAL2, CRPIX2, CD1_1 (or CDELT1) missing"
    assert lists.problems() == [f"{lists.folder}/image1.fits: no world coordinates: {missing}"]


def test_unusable_world_coordinates(lists):
    image(lists.folder / "image1.fits", **{**WCS, "CD1_1": 0.0, "CD2_2": 0.0})
    assert "image1.fits: world coordinates cannot be used" in lists.problems()[0]


def test_missing_refined_pointing(lists):
    problems = lists.problems(USE_REFINED_POINTING=1)
    assert len(problems) == 3
    assert "RARFND" in problems[0]


def test_mask_without_a_pattern(lists):
    problems = lists.problems(DCE_Status_Mask_Fatal_BitPattern="")
    assert problems == [
        "a.nl:3: DCE_STATUS_MASK_LIST is given without DCE_Status_Mask_Fatal_BitPattern; "
        "for IRAC write DCE_Status_Mask_Fatal_BitPattern = 32520"
    ]


def test_missing_permanent_mask_tells_its_line(lists):
    problems = lists.problems(PMASK_FILE_NAME="no_pmask.fits", PMask_Fatal_BitPattern=32767)
    assert problems[0].startswith("a.nl:5: PMASK_FILE_NAME = no_pmask.fits: no such file, neither here")


def test_bad_frames_are_left_out_on_request(lists, capsys):
    (lists.folder / "image1.fits").write_text("text")
    run = lists.run(Skip_Bad_Frames=1)
    check_frames(run)
    assert [files.base for files in run.frames()] == ["image0", "image2"]
    assert [files.index for files in run.frames()] == [0, 2]
    assert run.frames()[1].sigma.endswith("sigma2.fits")
    assert "left out: " in capsys.readouterr().out


def test_no_frame_is_left(lists):
    for name in lists.lists["image"]:
        (lists.folder / name).write_text("text")
    assert "no frame of the list can be used" in lists.problems(Skip_Bad_Frames=1)[-1]


def test_skipped_frames_are_not_listed(lists):
    run = lists.run()
    first = str(lists.folder / "image0.fits")
    assert [files.index for files in frame_files(run.globals, skip={first: "bad"})] == [1, 2]
