"""The report of a run: one file that needs no other, with the numbers of the products."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import report_facts, report_pictures
from pymopex.kit.ipac import read_table
from pymopex.kit.provenance import read
from pymopex.kit.report import Products, write_report


class Page(HTMLParser):
    """Headings, links, images and whether all that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.images, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found["src"])
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def out(field, tmp_path):
    return field.copy(tmp_path / "copy") / "out"


def test_report_of_a_flow(field):
    """The flow wrote it itself."""
    page = Page((field.out / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.images) == 4
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in page.images)
    for link in page.links:
        assert (field.out / link).is_file(), link
    assert {"extract.tbl", "Combine-mosaic/mosaic.fits", "Residual/mosaic/Combine/mosaic.fits"} <= set(
        page.links
    )
    for heading in ("In short", "Warnings and failures", "Mosaic", "Modules", "Products", "How to repeat it"):
        assert heading in page.text
    assert "overlap.sh -n " in page.text
    assert "sourcestimate" in page.text
    assert f"report: {'out/report.html'}" in field.log


def test_page_reaches_for_nothing(field):
    text = (field.out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|@import|url\(", text)


def test_numbers(field):
    products = Products(str(field.out), read(str(field.out / "provenance.json")))
    facts = dict(report_facts.facts(products))
    table = read_table(str(field.out / "extract.tbl"))
    offsets = read_table(str(field.out / "Overlap_corr/offsets.tbl")).column("offset")
    assert facts["frames in Overlap"] == "12, 1 connected group(s)"
    assert facts["offsets"].startswith(f"rms {offsets.std():.4g},")
    assert facts["fitted sources"].startswith(f"{len(table)}; ")
    assert facts["chi2/dof, median"] == f"{np.median(table.column('chi2/dof')):.3f}"
    rejected = read_table(str(field.out / "Rmask-mosaic/rejected.tbl"))
    share = 100 * rejected.column("rejected").sum() / rejected.column("n_pixels").sum()
    assert facts["pixels of the frames rejected"] == f"{share:.2f} %"


def test_lost_coverage_by_hand(out):
    for name, values in (("covg_map.fits", [4, 5, 0]), ("Combine-mosaic/mosaic_cov.fits", [3, 5, 0])):
        with fits.open(out / name, mode="update") as file:
            file[0].data[:] = 4
            file[0].data[0, :3] = values
    share, _ = report_facts.lost_coverage(Products(str(out), read(str(out / "provenance.json"))))
    assert share[0, :2] == pytest.approx([0.25, 0])
    assert np.isnan(share[0, 2])
    assert share[1:].max() == 0


def test_means_of_blocks(monkeypatch):
    monkeypatch.setattr(report_pictures, "_MOST", 2)
    image = np.array([[1, 3, 5], [np.nan, 2, np.nan], [7, 9, np.nan]])
    small, step = report_pictures._small(image)
    assert step == 2
    np.testing.assert_allclose(small, [[2, 5], [8, np.nan]])


def test_parts_of_a_run(out, mopex, tmp_path):
    """A run without APEX, and one whose images are gone, have a report of what there is."""
    whole = Page(Path(write_report(str(out))).read_text(encoding="utf-8"))
    for name in ("extract.tbl", "extract_raw.tbl", "detect.tbl"):
        (out / name).unlink()
    shutil.rmtree(out / "Combine-mosaic")
    shutil.rmtree(out / "Residual")
    status, log = mopex("report", out)
    assert (status, log.strip()) == (0, str(out / "report.html"))
    rest = Page((out / "report.html").read_text(encoding="utf-8"))
    assert len(rest.images) < len(whole.images)
    assert "Constant added to each frame" in rest.text


def test_warnings_and_failures_are_shown(out):
    import json

    path = out / "provenance.json"
    content = json.loads(path.read_text())
    content["tasks"][-1] |= {
        "status": "failed: <b>disk</b> full",
        "log": ["Warning: 3 frames left out", "made"],
    }
    path.write_text(json.dumps(content))
    text = Path(write_report(str(out))).read_text(encoding="utf-8")
    assert "failed: &lt;b&gt;disk&lt;/b&gt; full" in text
    assert "3 frames left out" in text
    assert "<b>" not in text


@pytest.mark.parametrize("words", [(), ("a", "b"), ("-x",)])
def test_wrong_words(mopex, words):
    status, log = mopex("report", *words)
    assert (status, "one output directory is needed" in log) == (2, True)


def test_no_run_there(mopex, tmp_path):
    status, log = mopex("report", tmp_path)
    assert status == 2
    assert f"{tmp_path}: no provenance.json of a run is there; wanted: the OUTPUT_DIR of a run" in log
    assert list(tmp_path.iterdir()) == []
    assert mopex("report", "--help")[0] == 0


def test_report_that_fails_spoils_nothing(few_frames, tmp_path, mopex, monkeypatch):
    monkeypatch.chdir(few_frames(tmp_path / "few"))
    monkeypatch.setattr(report_pictures, "PAGES", None)
    lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *lists, "create_report=1")
    assert status == 0, log
    assert "Warning: no report of out: TypeError" in log
