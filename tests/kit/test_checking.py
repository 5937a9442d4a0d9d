"""Values that the library refuses are a user's mistake: exit status 2, with file, line and key."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import driver, namelist
from pymopex.kit.checking import problems_of, problems_of_settings, refused
from pymopex.kit.cli import main
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run


def new_run(text="", task="detect_outlier", pipeline="mosaic"):
    run = Run(Settings(namelist.parse(text, "a.nl"), pipeline), Pool(1))
    run.task = task
    return run


def refuse(text):
    raise ValueError(text)


def test_message_gets_keys_and_line():
    run = new_run("&DETECT\n Detection_Min_Area = 9,\n&END\n")
    fields = {"min_area": "Detection_Min_Area", "max_area": "Detection_Max_Area"}
    found = problems_of_settings(
        run, lambda: refuse("min_area = 9 is above max_area = 2; old_min_area"), fields
    )
    assert found == ["a.nl:2: DETECT: Detection_Min_Area = 9 is above Detection_Max_Area = 2; old_min_area"]


def test_line_is_that_of_the_first_key_that_is_set():
    run = new_run("&DETECT\n Detection_Threshold = 4,\n Detection_Max_Area = 2,\n&END\n")
    fields = {"min_area": "Detection_Min_Area", "max_area": "Detection_Max_Area"}
    assert problems_of_settings(run, lambda: refuse("min_area, max_area"), fields)[0].startswith("a.nl:3: ")
    assert problems_of_settings(run, lambda: refuse("area"), fields, ["Detection_Threshold"])[0].startswith(
        "a.nl:2: "
    )
    assert problems_of_settings(run, lambda: refuse("area"), fields)[0] == "a.nl: DETECT: area"


def test_settings_that_are_sound_have_no_problem():
    assert problems_of_settings(new_run(), lambda: 1) == []


def test_input_errors_stay_as_they_are():
    def fail():
        raise InputError("prf.fits: no such file")

    assert problems_of_settings(new_run(), fail) == ["prf.fits: no such file"]


def test_other_errors_are_not_the_users():
    with pytest.raises(ZeroDivisionError):
        problems_of_settings(new_run(), lambda: 1 // 0)


def test_problems_of_a_check():
    def several():
        raise InputErrors(["a", "b"])

    assert problems_of(several) == ["a", "b"]
    assert problems_of(lambda: None) == []
    assert problems_of(lambda *_, key: [key], 1, key="c") == ["c"]


def test_refused_data_name_their_file():
    with pytest.raises(InputError, match=r"^a\.fits: too few pixels$"), refused("a.fits"):
        refuse("too few pixels")


CARDS = {
    **{
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRPIX1": 4.0,
        "CRPIX2": 4.0,
        "CRVAL1": 10.0,
        "CRVAL2": 20.0,
    },
    **{"CD1_1": -3e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3e-4, "EXPTIME": 12.0},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two frames, one of them with many bad pixels, and a PRF of even size."""
    monkeypatch.chdir(tmp_path)
    data = np.ones((16, 16), "f4")
    fits.PrimaryHDU(data, fits.Header(CARDS)).writeto("frame1.fits")
    data[:4] = np.nan
    fits.PrimaryHDU(data, fits.Header(CARDS)).writeto("frame2.fits")
    fits.PrimaryHDU(np.ones((20, 20), "f4")).writeto("even.fits")
    fits.PrimaryHDU(np.ones((21, 21), "f4"), fits.Header({"PRFXRSMP": 4, "PRFYRSMP": 4})).writeto("odd.fits")
    (tmp_path / "images.txt").write_text("frame1.fits\nframe2.fits\n")
    return tmp_path


def command(task, text, capsys, pipeline="mosaic", status=2):
    name = f"{pipeline}.nl"
    with open(name, "w") as file:
        file.write(f"IMAGE_STACK_FILE_NAME = images.txt\nOUTPUT_DIR = out\ndo_multiprocess = off\n{text}")
    assert main([task, name]) == status
    out, err = capsys.readouterr()
    assert err == ""
    return [line.removeprefix("Error: ") for line in out.splitlines() if line.startswith("Error: ")]


CONTRADICTIONS = [
    (
        "detect_outlier",
        "&DETECT\nDetection_Min_Area = 9,\nDetection_Max_Area = 3,\n&END",
        5,
        "Detection_Min_Area = 9",
    ),
    ("medfilter", "&MEDFILTER\nWindow_X = 5,\nWindow_Y = 5,\n&END", 5, "N_Outliers_Per_Window = 50"),
    ("extract_medfilter", "&EXTRACT_MEDFILTER\nWindow_X = 5,\nWindow_Y = 5,\n&END", 5, "below the 25 pixels"),
    ("detect_medfilter", "&DETECT_MEDFILTER\nWindow_X = 5,\nWindow_Y = 5,\n&END", 5, "below the 25 pixels"),
    ("gaussnoise", "&GAUSSNOISE\nN_Outliers_Per_Window = 9999,\n&END", 5, "N_Outliers_Per_Window = 9999"),
    (
        "fiducial_image_frame",
        "&FIDUCIALIMAGEFRAMEIN\nProjection_Type = FOO,\n&END",
        5,
        "Projection_Type FOO cannot",
    ),
    ("mosaic_interp", "&MOSAICINTIN\nFINERES = 1.5,\n&END", 5, "FINERES 1.5 is not a whole number"),
    ("mosaic_interp", "MOSAIC_PIXEL_SIZE_X = -1E-4\n&MOSAICINTIN\n&END", 4, "must be given together"),
    (
        "mosaic_interp",
        "MOSAIC_PIXEL_SIZE_X = -1E-4\nMOSAIC_PIXEL_SIZE_Y = 1E-4\nMOSAIC_PIXEL_RATIO_X = 2\n&MOSAICINTIN\n&END",
        6,
        "are both given",
    ),
    ("mosaic_coadder", "sigma_weighted_coadd = 1\n&MOSAICCOADDIN\n&END", 4, "no uncertainties are given"),
]


@pytest.mark.parametrize(("task", "text", "line", "reason"), CONTRADICTIONS)
def test_contradictions_are_told_with_their_line(folder, capsys, task, text, line, reason):
    [problem] = command(task, f"{text}\n", capsys)
    assert problem.startswith(f"mosaic.nl:{line}: ")
    assert reason in problem


def test_threshold_of_zero(folder, capsys):
    [problem] = command("detect_outlier", "&DETECT\nDetection_Threshold = 0,\n&END\n", capsys)
    assert problem.startswith("mosaic.nl:5: DETECT")
    assert "Detection_Threshold = 0" in problem


def test_prf_of_even_size(folder, capsys):
    text = "MOSAIC_PRF_file_name = even.fits\n&POINTSOURCEPROB\n&END\n"
    [problem] = command("pointsourceprob", text, capsys, "apex")
    assert problem.startswith("even.fits: a PRF must have odd axes")


def test_prf_of_detection_with_another_sampling(folder, capsys):
    text = "MOSAIC_PRF_file_name = odd.fits\n&POINTSOURCEPROB\nPRF_ResampleY_Factor = 5,\n&END\n"
    [problem] = command("pointsourceprob", text, capsys, "apex")
    assert problem.startswith("odd.fits: its header says 4 samples per pixel along y")
    assert "POINTSOURCEPROB.PRF_ResampleY_Factor = 5" in problem


def test_frame_with_too_many_bad_pixels(folder, capsys):
    text = "&MEDFILTER\nMax_Bad_Pixels_OutputImage = 0.1,\n&END\n"
    [problem] = command("medfilter", text, capsys)
    assert problem == "frame2.fits: 25.0% of the output pixels are bad; at most 10.0% are allowed"


def test_margin_that_leaves_nothing(folder, capsys):
    [problem] = command("fiducial_image_frame", "MARGIN = -100\n&FIDUCIALIMAGEFRAMEIN\n&END\n", capsys)
    assert problem == "images.txt: a margin of -100 pixels leaves nothing of the fiducial frame"


def test_wrong_value_of_a_parameter_that_a_check_needs(folder, capsys):
    [problem] = command("aperture", "&APERTURE\nN_Apertures = two,\n&END\n", capsys, "apex")
    assert problem == "apex.nl:5: APERTURE.N_Apertures = two: not a number; allowed: an integer from 1 to 10"


def test_parameters_and_lists_are_told_together_and_frames_are_not_opened(folder, capsys, monkeypatch):
    from pymopex.kit import images

    monkeypatch.setattr(images, "read_header", lambda path: pytest.fail(f"{path} was opened"))
    text = "SIGMALIST_FILE_NAME = none.txt\n&MEDFILTER\nWindow_X = 2,\nWindow_Z = 2,\n&END\n"
    problems = command("medfilter", text, capsys)
    assert [problem.split(": ")[0] for problem in problems] == ["mosaic.nl:7", "mosaic.nl:6", "mosaic.nl:4"]


def test_missing_frames_and_contradictions_are_told_together(folder, capsys):
    (folder / "frame1.fits").unlink()
    problems = command(
        "fiducial_image_frame", "&FIDUCIALIMAGEFRAMEIN\nProjection_Type = FOO,\n&END\n", capsys
    )
    assert len(problems) == 2
    assert problems[0] == "frame1.fits: no such file"


def test_log_tells_the_status_of_a_module(folder, capsys):
    run = new_run("OUTPUT_DIR = out\nIMAGE_STACK_FILE_NAME = images.txt\nMARGIN = -100\n")
    with pytest.raises(InputError):
        driver.execute(run, ["fiducial_image_frame"])
    assert "System Exit 2" in capsys.readouterr().out


def test_detection_areas_and_fit_settings(folder, capsys):
    text = "&DETECT\nDetection_Min_Area = 9,\nDetection_Max_Area = 3,\n&END\n"
    [problem] = command("detect", text, capsys, "apex")
    assert "Detection_Min_Area = 9" in problem
    area = "Fitting_Area_X = 7,\nFitting_Area_Y = 7,"
    text = f"PRF_file_name = odd.fits\n&SOURCESTIMATE\n{area}\nChi_Threshold = 0,\n&END\n"
    [problem] = command("sourcestimate", text, capsys, "apex")
    assert "Chi_Threshold" in problem
