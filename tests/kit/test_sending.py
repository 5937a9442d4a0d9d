"""Products go to other programs by SAMP, and become regions of DS9."""

import threading
import warnings
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import sending
from pymopex.kit.ipac import read_table


def test_regions_of_a_table(field, mopex, tmp_path):
    status, log = mopex("send", field.out / "extract.tbl", "--regions", tmp_path / "a.reg")
    assert status == 0, log
    circles = [line for line in (tmp_path / "a.reg").read_text().splitlines() if line.startswith("circle(")]
    table = read_table(str(field.out / "extract.tbl"))
    assert len(circles) == len(table)
    ra, dec = (float(word) for word in circles[0][7:].split(",")[:2])
    assert (ra, dec) == pytest.approx((table.column("RA")[0], table.column("Dec")[0]), abs=1e-7)


def test_regions_of_a_table_without_the_sky_are_in_pixels(tmp_path):
    (tmp_path / "a.tbl").write_text("| x | y |\n| int | int |\n  10  20\n")
    text = sending.regions_of(str(tmp_path / "a.tbl"))
    assert "\nimage\ncircle(10.000,20.000,3) # text={1}\n" in text


def test_outlines_of_frames_go_through_their_corners(field):
    from pymopex.projection import frame_wcs, pixel_to_sky

    text = sending.regions_of(f"{field.sim}/images.txt")
    polygons = [line for line in text.splitlines() if line.startswith("polygon(")]
    assert len(polygons) == 12
    first = (field.sim / "images.txt").read_text().split()[0]
    corners = np.array(polygons[0][8:].split(")")[0].split(","), float).reshape(-1, 2)
    ra, dec = pixel_to_sky(frame_wcs(fits.getheader(first)), np.array([-0.5, 95.5]), np.array([-0.5, 95.5]))
    assert corners[0] == pytest.approx((ra[0], dec[0]), abs=1e-7)
    assert np.hypot(*(corners - [ra[1], dec[1]]).T).min() < 1e-6
    assert Path(first).name in polygons[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "a file is needed"),
        (("none.tbl",), "none.tbl: No such file"),
        (("a.tbl", "--regions"), "--regions: needs a value"),
        (("a.tbl", "b.tbl", "--regions", "c.reg"), "takes one table or list"),
        (("a.tbl", "--two", "ds9"), "--two: unknown option"),
        (("a.tbl", "--regions", "c.reg"), "neither RA and Dec nor x and y"),
        (("empty.txt", "--regions", "c.reg"), "names no frame"),
        (("list.txt",), "none.fits: no such file"),
    ],
)
def test_mistakes_of_send_are_told(words, text, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.tbl").write_text("| a |\n| int |\n  1\n")
    Path("empty.txt").write_text("\n")
    Path("list.txt").write_text("none.fits\n")
    status, log = mopex("send", *words)
    assert status == 2, log
    assert text in log
    assert not Path("c.reg").exists()


def test_without_a_hub_the_user_is_told(field, mopex, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{tmp_path}/none")
    status, log = mopex("send", field.out / "extract.tbl")
    assert status == 1
    assert "no SAMP hub is running: start TOPCAT or DS9 first" in log


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A hub on this machine with a program that is called DS9 and one that is called TOPCAT; gives what they get."""
    samp = sending._samp()
    lock = tmp_path / "samp"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{lock}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    got, more = [], threading.Event()

    def receiver(name):
        def receive(private_key, sender, kind, parameters, extra):
            got.append((name, kind, dict(parameters)))
            more.set()

        return receive

    with samp.conf.set_temp("use_internet", False), warnings.catch_warnings():
        warnings.simplefilter("ignore", samp.SAMPWarning)
        hub = samp.SAMPHubServer(web_profile=False, addr="127.0.0.1", lockfile=str(lock))
        hub.start()
        clients = []
        for name, kinds in (
            ("SAOImage DS9", (sending._IMAGE, sending._REGIONS)),
            ("topcat", (sending._TABLE,)),
        ):
            client = samp.SAMPIntegratedClient(name=name, addr="127.0.0.1")
            client.connect()
            for kind in kinds:
                client.bind_receive_notification(kind, receiver(name))
            clients.append(client)

        def received(count):
            for _ in range(200):
                if len(got) >= count:
                    break
                more.wait(0.05)
                more.clear()
            return sorted(got, key=lambda one: one[:2])

        yield received
        for client in clients:
            client.disconnect()
        hub.stop()


def test_products_arrive_at_the_programs_that_take_them(programs, field, mopex):
    mosaic = field.out / "Combine-mosaic" / "mosaic.fits"
    status, log = mopex("send", mosaic, field.out / "extract.tbl")
    assert status == 0, log
    regions, image, table = sorted(programs(3), key=lambda one: one[1])
    assert [one[:2] for one in (regions, image, table)] == [
        ("SAOImage DS9", "ds9.set"),
        ("SAOImage DS9", "image.load.fits"),
        ("topcat", "table.load.votable"),
    ]
    assert Path(unquote(urlsplit(image[2]["url"]).path)) == mosaic.resolve()
    from astropy.table import Table

    path = unquote(urlsplit(table[2]["url"]).path)
    sent = Table.read(path, format="votable")
    assert sent["RA"].tolist() == read_table(str(field.out / "extract.tbl")).column("RA").tolist()
    command = regions[2]["cmd"]
    assert command.startswith("regions load {")
    assert Path(command[14:-1]).read_text().count("circle(") == len(sent)
    assert "topcat (table.load.votable)" in log


def test_only_the_program_that_is_named_gets_it(programs, field, mopex):
    status, log = mopex("send", field.sim / "images.txt", "--to", "ds9")
    assert status == 0, log
    (one,) = programs(1)
    assert (one[0], one[1]) == ("SAOImage DS9", "ds9.set")
    status, log = mopex("send", field.out / "extract.tbl", "--to", "aladin")
    assert status == 1
    assert "no program with aladin in its name at the hub takes it" in log
