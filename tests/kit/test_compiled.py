"""The log says once that numerical code is to be compiled, and only if it is."""

from pymopex.kit import compiled


def test_a_cold_cache_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled._Told, "done", False)
    compiled.tell_once()
    compiled.tell_once()
    assert capsys.readouterr().out.count(f"kept in {tmp_path}") == 1


def test_a_warm_one_is_not(tmp_path, monkeypatch, capsys):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "kernel.nbi").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled._Told, "done", False)
    compiled.tell_once()
    assert not capsys.readouterr().out
