import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import namelist
from pymopex.kit.errors import InputError
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.prfmap import PrfMapTable, write_prf_map
from pymopex.kit.prfs import check_prfs, load_table, save_table
from pymopex.kit.task import Run

FACTOR = 10
SIGMA = 0.7  # pixel


def gaussian(size=101, sigma=SIGMA):
    x = (np.arange(size) - size // 2) / FACTOR
    line = np.exp(-0.5 * (x / sigma) ** 2)
    return np.outer(line, line)


def save(path, samples, **cards):
    fits.PrimaryHDU(samples, fits.Header(cards)).writeto(path)
    return str(path)


@pytest.fixture
def new_run(tmp_path):
    def make(factor=FACTOR, **keys):
        text = f"OUTPUT_DIR = {tmp_path}/out\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        block = (
            f"&SOURCESTIMATE\n PRF_ResampleX_Factor = {factor},\n PRF_ResampleY_Factor = {factor},\n&END\n"
        )
        run = Run(Settings(namelist.parse(text + block, "a.nl"), "apex"), Pool(1))
        run.task = "sourcestimate"
        return run

    return make


def test_no_prf(new_run):
    assert check_prfs(new_run()) == ["a.nl: no PRF is given: PRFMAP_FILE_NAME (-m) or PRF_file_name (-p)"]


def test_missing_prf_and_map_tell_their_line(new_run):
    assert check_prfs(new_run(PRF_file_name="none.fits"))[0].startswith(
        "a.nl:2: PRF_file_name = none.fits: no such"
    )
    assert check_prfs(new_run(PRFMAP_FILE_NAME="none.tbl"))[0].startswith(
        "a.nl:2: PRFMAP_FILE_NAME = none.tbl"
    )


def test_map_that_names_a_missing_prf(new_run, tmp_path):
    table = tmp_path / "prfmap.tbl"
    write_prf_map(str(table), PrfMapTable(["none.fits"], [(1, 1, 256, 256)], (101, 101)))
    assert check_prfs(new_run(PRFMAP_FILE_NAME=table))[0].startswith("none.fits: no such file")


@pytest.mark.parametrize("keys", [("PRFXRSMP", "PRFYRSMP"), ("PRFSAMPX", "PRFSAMPY")])
def test_sampling_of_each_axis_and_each_prf_is_checked_before_work(new_run, tmp_path, keys):
    """The first PRF is right, the second along x, the third not; a header without keywords says nothing."""
    said = [(10, 10), (10, 5), (20, 5)]
    paths = [
        save(tmp_path / f"{i}.fits", gaussian(), **dict(zip(keys, pair, strict=True)))
        for i, pair in enumerate(said)
    ]
    paths.append(save(tmp_path / "plain.fits", gaussian()))
    regions = [(1, 1, 64, 256), (65, 1, 64, 256), (129, 1, 64, 256), (193, 1, 64, 256)]
    table = tmp_path / "prfmap.tbl"
    write_prf_map(str(table), PrfMapTable(paths, regions, (101, 101)))
    where = "SOURCESTIMATE.PRF_Resample"
    assert check_prfs(new_run(PRFMAP_FILE_NAME=table)) == [
        f"{paths[1]} and 1 more of the map: its header says 5 samples per pixel along y; {where}Y_Factor = 10 (a.nl:5)",
        f"{paths[2]}: its header says 20 samples per pixel along x; {where}X_Factor = 10 (a.nl:4)",
    ]


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (gaussian(100), "is 100 x 100 samples"),
        (np.zeros((3, 9, 9)), "has 3 axes"),
        (None, "cannot be read as FITS"),
    ],
)
def test_prf_of_a_wrong_form_is_named_before_work(new_run, tmp_path, samples, reason):
    path = tmp_path / "prf.fits"
    path.write_text("no FITS") if samples is None else save(path, samples)
    assert check_prfs(new_run(PRF_file_name=path))[0].startswith(f"{path}: {reason}")


def test_single_prf_serves_the_whole_array(new_run, tmp_path):
    run = new_run(PRF_file_name=save(tmp_path / "prf.fits", gaussian(), PRFXRSMP=FACTOR))
    assert check_prfs(run) == []
    path = save_table(run)
    assert path == f"{tmp_path}/out/prf_table.npz"
    assert run.made == [path]
    table, where, central = load_table(path)
    assert (table.sampling_x, table.sampling_y) == (FACTOR, FACTOR)
    x = np.array([0.0, 17.0, 255.0])
    assert set(where.index_at(x, x)) == {0}
    peak = 1 / (2 * np.pi * SIGMA**2)  # central value of a Gaussian of unit sum
    assert central == pytest.approx([peak], rel=1e-3)
    offset = np.array([0.33])
    value, _, _ = table.evaluate(offset, offset, 0)
    assert value[0] == pytest.approx(peak * np.exp(-(offset[0] ** 2) / SIGMA**2), rel=1e-3)


def test_map_of_prfs(new_run, tmp_path):
    for name, sigma in (("left", 0.7), ("right", 0.8)):
        save(tmp_path / f"{name}.fits", gaussian(sigma=sigma))
    table = tmp_path / "prfmap.tbl"
    regions = [(1, 1, 128, 256), (129, 1, 128, 256)]
    write_prf_map(str(table), PrfMapTable(["left.fits", "right.fits"], regions, (101, 101)))
    _, where, central = load_table(save_table(new_run(PRFMAP_FILE_NAME=table)))
    np.testing.assert_array_equal(where.index_at(np.array([10.0, 200.0]), np.array([5.0, 5.0])), [0, 1])
    assert central[1] / central[0] == pytest.approx((0.7 / 0.8) ** 2, rel=1e-3)


def test_header_that_says_another_sampling(new_run, tmp_path):
    run = new_run(factor=5, PRF_file_name=save(tmp_path / "prf.fits", gaussian(), PRFXRSMP=FACTOR))
    with pytest.raises(
        InputError, match=r"10 samples per pixel along x; SOURCESTIMATE.PRF_ResampleX_Factor = 5 \(a\.nl:4\)"
    ):
        save_table(run)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (gaussian()[:-1], "odd axes"),
        (0 * gaussian(), "cannot be normalised"),
        (np.nan * gaussian(), "not finite"),
    ],
)
def test_prf_that_cannot_be_used(new_run, tmp_path, samples, reason):
    run = new_run(PRF_file_name=save(tmp_path / "prf.fits", samples))
    with pytest.raises(InputError, match=rf"prf\.fits: .*{reason}.*make_prf makes the form"):
        save_table(run)


def test_prfs_are_interpolated_between_the_places_of_their_headers(new_run, tmp_path):
    files, regions = [], []
    for i, (column, row) in enumerate((c, r) for c in (25, 233) for r in (25, 233)):
        files.append(f"{i}.fits")
        save(tmp_path / files[-1], gaussian(sigma=0.7 + 0.02 * i), PRFCOL=column, PRFROW=f"{row:03d}")
        regions.append((1 if column == 25 else 129, 1 if row == 25 else 129, 128, 128))
    table = tmp_path / "prfmap.tbl"
    write_prf_map(str(table), PrfMapTable(files, regions, (101, 101)))
    run = new_run(PRFMAP_FILE_NAME=table)
    run.settings.overrides["prf_interpolation", "sourcestimate"] = namelist.Entry(
        "PRF_Interpolation", "bilinear", "SOURCESTIMATE", "command line"
    )
    assert check_prfs(run) == []
    _, where, _ = load_table(save_table(run))
    index, mix = where.mix_at(np.array([24.0, 128.0]), np.array([24.0, 24.0]))
    assert index[0, np.argmax(mix[0])] == 0
    assert mix[0].max() == pytest.approx(1)
    assert sorted(mix[1]) == pytest.approx([0, 0, 0.5, 0.5])
    assert set(index[1][mix[1] > 0.1]) == {0, 2}
    write_prf_map(str(table), PrfMapTable(files[:3], regions[:3], (101, 101)))
    assert check_prfs(run) == [
        "command line: PRF_Interpolation = bilinear: 3 PRFs at 2 columns and 2 rows of the array are no grid to "
        "interpolate in"
    ]
