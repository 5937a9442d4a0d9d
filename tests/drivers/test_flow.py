"""The whole flow on a simulated field: its products, its log, and its numbers against the truth."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from pymopex import __version__
from pymopex.kit.driver import pipeline_tasks
from pymopex.kit.ipac import read_table
from pymopex.kit.stages import CHANGES

FATAL = 32520  # bits of the status mask
OFFSET_TOLERANCE = 0.0005  # MJy/sr, a fortieth of the rms of the offsets
BRIGHT = 150  # uJy, about 100 sigma in four frames
FLUX_BIAS, FLUX_SCATTER = 0.004, 0.012  # of the flux of stars above BRIGHT
POSITION_TOLERANCE = 0.02  # arcsec, rms of each coordinate, a sixtieth of a pixel of the frames


@pytest.fixture(scope="module")
def frames(field):
    """Names of the frames, without folder and ending, in the order of the list."""
    return [Path(line).stem for line in (field.sim / "images.txt").read_text().split()]


@pytest.fixture(scope="module")
def stars(field):
    """The true stars that at least four frames hold."""
    table = read_table(str(field.sim / "truth" / "sources.tbl"))
    seen = table.column("n_frames") >= 4
    return {name: table.column(name)[seen] for name in ("ra", "dec", "flux", "saturated")}


def test_single_products_have_their_legacy_names(field):
    names = [
        *("FIF.tbl", "header_list.tbl", "mosaic_fif.tbl", "covg_map.fits"),
        *("Overlap_corr/offsets.tbl", "Overlap_corr/correct_images.txt"),
        *(f"Combine-mosaic/mosaic{part}.fits" for part in ("", "_unc", "_cov", "_std", "_arraycorr")),
        *(f"Coadd-mosaic/coadd_Tile_1_{part}.fits" for part in ("Image", "Cov", "Unc", "Std_Unc")),
        *("Coadd-mosaic/coadd_Tiles_List", "Coadd-mosaic/coadd_tiles.tbl"),
        *("Rmask-mosaic/rmask_correct_images.txt", "Interp-mosaic/interp_correct_images.txt.tbl"),
        *("detect.tbl", "detect_raw.tbl", "extract_raw.tbl", "extract.tbl"),
        *("Residual/residual_correct_images.txt", "Residual/mosaic/mosaic_fif.tbl"),
        *(f"Residual/mosaic/Combine/mosaic{part}.fits" for part in ("", "_unc", "_cov", "_std")),
        *("provenance.json", "overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl"),
    ]
    assert [name for name in names if not (field.out / name).is_file()] == []


def test_products_of_frames_have_their_legacy_names(field, frames):
    patterns = [
        *(
            "Overlap_corr/correct_{}.fits",
            "Detect-overlap/{}_detmap.fits",
            "Medfilter-overlap/{}_minback.fits",
        ),
        *("Rmask-mosaic/correct_{}_rmask.fits", "Residual/residual_correct_{}.fits"),
        *("Interp-mosaic/interp_correct_{}.fits", "Interp-mosaic/interp_correct_{}_covg.fits"),
        "DualOutlier-mosaic/proj_correct_{}_detmap_dual_outlier_level.fits",
        *("Outlier-mosaic/interp_correct_{}_outlier.fits", "Reinterp-mosaic/interp_correct_{}.fits"),
        "Medfilter-apex/correct_{}_minus_median_extract.fits",
    ]
    names = [pattern.format(frame) for pattern in patterns for frame in frames]
    assert [name for name in names if not (field.out / name).is_file()] == []
    assert (field.out / f"Interp-mosaic/interp_unc_{frames[0].replace('cbcd', 'cbunc')}.fits").is_file()


def test_nothing_temporary_is_left(field):
    assert [path for path in field.out.rglob("*") if path.name.startswith(".")] == []


def test_log_has_a_command_and_a_status_for_each_module(field):
    lines = field.log.splitlines()
    prefix = re.escape(os.path.join(sys.prefix, "bin", "mopex"))
    modules = [match[1] for line in lines if (match := re.match(rf"{prefix} (\w+) \w+\.nl$", line))]
    left_out = {"fiducial_image_frame", "mosaic_interp", "mosaic_coadder", "mosaic_combiner"}
    apex = [task for task in pipeline_tasks("apex") if task not in left_out]
    wanted = [
        *(pipeline_tasks("overlap") + pipeline_tasks("mosaic")),
        *(apex + pipeline_tasks("apex_qa")),
    ]
    off = {*CHANGES, "psp_gaussnoise", "mosaic_pointsourceimage", "photcorr"}  # in the field
    wanted = [task for task in wanted if task not in off]
    assert modules == wanted
    assert [line for line in lines if line.startswith("System Exit")] == ["System Exit 0"] * len(wanted)
    assert lines[-1] == "flow terminated normally"
    assert "Error" not in field.log


def test_provenance_tells_what_each_module_made(field):
    records = json.loads((field.out / "provenance.json").read_text())["tasks"]
    modules = re.findall(r"bin/mopex (\w+)", field.log)
    assert [record["task"] for record in records] == modules
    assert {record["version"] for record in records} == {__version__}
    fit = records[modules.index("sourcestimate")]
    assert fit["parameters"]["SOURCESTIMATE.PRF_ResampleX_Factor"] == {"value": 20, "origin": "command line"}
    assert fit["products"] == ["prf_table.npz", "extract_raw.tbl", "extract.h5"]
    for record in records:
        assert record["products"]
        names = [name for name in record["products"] if not (field.out / name).exists()]
        assert names == [], record["task"]


def test_history_tells_task_parameters_and_inputs(field, frames):
    header = fits.getheader(field.out / "Medfilter-mosaic" / f"correct_{frames[0]}_minback.fits")
    history = [str(line) for line in header["HISTORY"]]
    assert history[-1] == f"  from correct_{frames[0]}.fits"
    start = history.index(f"pymopex {__version__} medfilter")
    assert "  Window_X = 45" in history[start:]
    history = list(fits.getheader(field.out / "Combine-mosaic" / "mosaic.fits")["HISTORY"])
    parameters = ["  Scale_Uncertainties = 0"]
    assert history == [
        f"pymopex {__version__} mosaic_combiner",
        *parameters,
        "  from coadd_Tile_1_Image.fits",
    ]


def test_offsets_are_recovered(field, frames):
    found, true = (
        read_table(str(path))
        for path in (field.out / "Overlap_corr" / "offsets.tbl", field.sim / "truth" / "offsets.tbl")
    )
    assert [Path(str(name)).stem for name in found.column("file")] == frames
    assert set(found.column("group")) == {found.column("group")[0]}
    assert true.column("offset").std() > 0.01
    left = found.column("offset") + true.column("offset")
    assert left.std() < OFFSET_TOLERANCE


def test_corrected_frames_are_the_frames_plus_their_offsets(field):
    offsets = read_table(str(field.out / "Overlap_corr" / "offsets.tbl")).column("offset")
    images = (field.sim / "images.txt").read_text().split()
    for image, offset in zip(images, offsets, strict=True):
        plain = fits.getdata(image)
        corrected, header = fits.getdata(
            field.out / "Overlap_corr" / f"correct_{Path(image).name}", header=True
        )
        assert header["OVERLAPC"] == pytest.approx(offset, abs=1e-8)
        assert np.array_equal(np.isnan(corrected), np.isnan(plain))
        good = np.isfinite(plain)
        np.testing.assert_allclose(corrected[good] - plain[good].astype("f8"), offset, atol=1e-5)


def _place(header, stars):
    """Pixel positions of stars in a frame, by its full WCS."""
    x, y = WCS(header).all_world2pix(stars["ra"], stars["dec"], 0, tolerance=1e-3, quiet=True)
    inside = (x > 0) & (x < header["NAXIS1"] - 1) & (y > 0) & (y < header["NAXIS2"] - 1)
    return x[inside], y[inside]


def test_hits_are_rejected_and_nothing_else(field, frames, stars):
    bright = (stars["flux"] > BRIGHT) & (stars["saturated"] == 0)
    bright = {name: values[bright] for name, values in stars.items()}
    counts = np.zeros((3, 2), int)
    pmask = fits.getdata(field.sim / "pmask.fits") > 0
    for frame in frames:
        rejected = fits.getdata(field.out / "Rmask-mosaic" / f"correct_{frame}_rmask.fits") > 0
        charge = fits.getdata(field.sim / "truth" / "hits" / f"{frame}_hits.fits")
        bcd = field.sim / "bcd"
        sigma = fits.getdata(bcd / f"{frame.replace('cbcd', 'cbunc')}.fits")
        status = fits.getdata(bcd / f"{frame.replace('cbcd', 'bimsk')}.fits").astype(int)
        good = (status & FATAL == 0) & ~pmask
        x, y = _place(fits.getheader(bcd / f"{frame}.fits"), bright)
        rows, columns = np.indices(good.shape)
        core = (np.hypot(columns[..., None] - x, rows[..., None] - y) < 1.5).any(axis=-1)
        for i, which in enumerate((charge > 8 * sigma, charge == 0, core & (charge == 0))):
            counts[i] += (which & good).sum(), (which & good & rejected).sum()
    assert counts[:, 0].min() > 300
    hits, clean, cores = counts[:, 1] / counts[:, 0]
    assert hits > 0.90  # the edge of the field, which one frame sees, included
    assert clean < 0.0005
    assert cores < 0.003


def test_flagged_hits_have_their_bit(field, frames):
    flagged = 0
    for frame in frames:
        status = fits.getdata(field.sim / "bcd" / f"{frame.replace('cbcd', 'bimsk')}.fits").astype(int)
        rmask = fits.getdata(field.out / "Rmask-mosaic" / f"correct_{frame}_rmask.fits").astype(int)
        assert np.array_equal(status & 512 > 0, rmask & 1 > 0)
        flagged += np.count_nonzero(rmask & 1)
    assert flagged > 20


def test_rejected_table_counts_the_masks(field, frames):
    table = read_table(str(field.out / "Rmask-mosaic" / "rejected.tbl"))
    for row, frame in enumerate(frames):
        rmask = fits.getdata(field.out / "Rmask-mosaic" / f"correct_{frame}_rmask.fits")
        assert table.column("rejected")[row] == np.count_nonzero(rmask)
        assert table.column("n_pixels")[row] == rmask.size


def _matched(field, stars):
    """Rows of the extraction table and of the true stars within an arcsecond."""
    table = read_table(str(field.out / "extract.tbl"))
    found = SkyCoord(table.column("RA"), table.column("Dec"), unit="deg")
    true = SkyCoord(stars["ra"], stars["dec"], unit="deg")
    star, apart, _ = found.match_to_catalog_sky(true)
    row = np.flatnonzero(apart < 1 * u.arcsec)
    return table, row, star[row]


def test_stars_are_found_and_few_others(field, stars):
    table, _, star = _matched(field, stars)
    whole = np.flatnonzero((stars["saturated"] == 0) & (stars["flux"] > 50))
    assert len(whole) > 30
    assert np.isin(whole, star).mean() > 0.95
    everything = read_table(str(field.sim / "truth" / "sources.tbl"))
    _, apart, _ = SkyCoord(table.column("RA"), table.column("Dec"), unit="deg").match_to_catalog_sky(
        SkyCoord(everything.column("ra"), everything.column("dec"), unit="deg")
    )
    assert np.mean(apart < 2 * u.arcsec) > 0.95


def test_fluxes_and_positions_of_bright_stars(field, stars):
    table, row, star = _matched(field, stars)
    use = (stars["flux"][star] > BRIGHT) & (stars["saturated"][star] == 0)
    row, star = row[use], star[use]
    assert len(row) >= 15
    ratio = table.column("flux")[row] / stars["flux"][star]
    assert abs(np.median(ratio) - 1) < FLUX_BIAS
    assert np.abs(ratio - 1).max() < 4 * FLUX_SCATTER
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < FLUX_SCATTER
    east = (table.column("RA")[row] - stars["ra"][star]) * np.cos(np.radians(2)) * 3600
    north = (table.column("Dec")[row] - stars["dec"][star]) * 3600
    for off in (east, north):
        assert np.sqrt(np.mean(off**2)) < POSITION_TOLERANCE
    assert 0.7 < np.median(table.column("chi2/dof")[row]) < 1.5


def test_positions_on_the_mosaic_belong_to_the_positions_on_the_sky(field):
    table = read_table(str(field.out / "extract.tbl"))
    wcs = WCS(fits.getheader(field.out / "Combine-mosaic" / "mosaic.fits"))
    x, y = wcs.all_world2pix(table.column("RA"), table.column("Dec"), 1)
    np.testing.assert_allclose(table.column("x"), x, atol=0.01)
    np.testing.assert_allclose(table.column("y"), y, atol=0.01)


def test_residual_mosaic_is_empty_at_the_stars(field, stars):
    mosaic, header = fits.getdata(field.out / "Combine-mosaic" / "mosaic.fits", header=True)
    residual = fits.getdata(field.out / "Residual" / "mosaic" / "Combine" / "mosaic.fits")
    assert residual.shape == mosaic.shape
    use = (stars["flux"] > BRIGHT) & (stars["saturated"] == 0)
    x, y = WCS(header).all_world2pix(stars["ra"][use], stars["dec"][use], 0)
    left = []
    for column, row in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
        near = slice(row - 2, row + 3), slice(column - 2, column + 3)
        sky = np.nanmedian(residual[row - 15 : row + 16, column - 15 : column + 16])
        left.append(np.abs(residual[near] - sky).max() / (mosaic[near].max() - sky))
    assert len(left) > 15
    assert np.median(left) < 0.02
    assert max(left) < 0.08


def test_no_data_goes_with_coverage_zero(field):
    for folder in ("Combine-mosaic", "Residual/mosaic/Combine"):
        image, unc, covg = (
            fits.getdata(field.out / folder / f"mosaic{part}.fits") for part in ("", "_unc", "_cov")
        )
        assert np.array_equal(np.isnan(image), covg == 0)
        assert np.array_equal(np.isnan(unc), covg == 0)
        assert (unc[covg > 0] > 0).all()
        assert 3.5 < np.median(covg[covg > 0]) < 6


def test_array_location_correction_follows_the_coverage(field):
    corr = fits.getdata(field.out / "Combine-mosaic" / "mosaic_arraycorr.fits")
    covg = fits.getdata(field.out / "Combine-mosaic" / "mosaic_cov.fits")
    assert np.array_equal(np.isnan(corr), covg == 0)
    plain = fits.getdata(field.out / "ArrayCorr-mosaic" / "arraycorr_image.fits")
    inside = corr[covg > 0]
    assert plain.min() - 1e-5 < inside.min() < 0.98
    assert 1.02 < inside.max() < plain.max() + 1e-5


def test_comparison_with_the_truth(field, mopex, tmp_path):
    with contextlib.chdir(field.copy(tmp_path / "copy")):
        status, log = mopex("compare", "out/apex_I1.nl", f"Truth_Dir={field.sim}/truth")
        assert status == 0, log
        text = Path("out/comparison.txt").read_text()
    assert log.splitlines()[-1] == "compare terminated normally"
    true, left = map(
        float, re.search(r"true rms ([\d.]+), left after the correction ([\d.]+)", text).groups()
    )
    assert true > 0.01
    assert left < OFFSET_TOLERANCE
    hits, clean, cores = map(float, re.search(r"2\+ +([\d.]+) % +([\d.]+) % +([\d.]+) %", text).groups())
    assert hits > 92
    assert clean < 0.05
    assert cores < 0.3
    rates = r"stars above 5 sigma\D* ([\d.]+) % found; of \d+ sources above 5 sigma\D* ([\d.]+) % real"
    found, real = map(float, re.search(rates, text).groups())
    assert found > 92
    assert real > 95
    rows = re.findall(r"^ +(\d+) +(\S+) +(\d+) +([+-][\d.]+) % ", text, re.MULTILINE)
    assert sum(int(row[2]) for row in rows) > 60
    assert abs(float(rows[-1][3])) < 100 * FLUX_BIAS


@pytest.fixture(scope="module")
def few(field, tmp_path_factory):
    """A folder with the lists of four frames and the namelists."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("images.txt", "sigmas.txt", "masks.txt"):
        lines = (field.sim / name).read_text().splitlines()[:4]
        (folder / name).write_text("\n".join(lines) + "\n")
    for name in ("overlap_I1.nl", "mosaic_I1.nl"):
        (folder / name).write_text((field.work / name).read_text())
    return folder


def shell(folder, script, *words):
    """Run an installed script as a user does; the scripts find the command beside themselves."""
    path = Path(sys.executable).parent / script
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [path, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt")


@pytest.fixture(scope="module")
def flowed(few):
    """What the script of the flow gives for Overlap and Mosaic: status, lines of the log, messages."""
    return shell(few, "flow.sh", *LISTS, "-O", "flow", "overlap_I1.nl", "mosaic_I1.nl")


def test_flow_script(few, flowed):
    status, lines, errors = flowed
    assert (status, errors) == (0, "")
    assert lines[-1] == "flow terminated normally"
    assert lines.count("System Exit 0") == sum("/bin/mopex " in line for line in lines) == 19
    assert (few / "flow" / "Combine-mosaic" / "mosaic.fits").is_file()
    as_run = (few / "flow" / "mosaic_I1.nl").read_text()
    assert "IMAGE_STACK_FILE_NAME = flow/Overlap_corr/correct_images.txt" in as_run


def test_legacy_name_and_glued_flags_make_the_same(few, flowed):
    glued = ("-Iimages.txt", "-Ssigmas.txt", "-dmasks.txt", "-Opl")
    status, lines, errors = shell(few, "overlap.pl", "-noverlap_I1.nl", *glued)
    assert (status, lines[-1], errors) == (0, "overlap terminated normally", "")
    both = [(few / folder / "Overlap_corr" / "offsets.tbl").read_bytes() for folder in ("flow", "pl")]
    assert both[0] == both[1]


def test_script_tells_a_failure(few):
    status, lines, errors = shell(few, "mosaic.sh", "-n", "mosaic_I1.nl", "-I", "none.txt", "-O", "bad")
    assert status == 2
    assert errors == ""
    assert "Error: command line: IMAGE_STACK_FILE_NAME = none.txt: no such file" in lines
    assert "terminated normally" not in lines[-1]
    assert not (few / "bad").exists()


def test_scripts_show_their_flags_and_modules(tmp_path):
    status, lines, errors = shell(tmp_path, "overlap.sh", "--help")
    assert (status, errors) == (0, "")
    assert lines[0] == "usage: overlap.sh -n NAMELIST [FLAGS] [KEY=VALUE ...]"
    assert [line.split()[0] for line in lines[-6:]] == [
        *("run_fiducial_image_frame", "run_medfilter", "run_detect_outlier", "run_mosaic_interp"),
        *("compute_overlap_correction", "mosaic_corrected_images"),
    ]
