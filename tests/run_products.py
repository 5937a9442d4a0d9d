"""The products of a run as bytes, for tests and benchmarks that compare those of two runs."""

import re
from pathlib import Path

import tables


def content(path):
    """Give the bytes of a product without dates."""
    if path.suffix == ".h5":
        with tables.open_file(path) as file:
            nodes = file.walk_nodes("/", "Table")
            return b"".join(node._v_pathname.encode() + node.read().tobytes() for node in nodes)
    data = path.read_bytes()
    return re.sub(rb"(?m)^\\char Date-Time = .*$", b"", data) if path.suffix == ".tbl" else data


def products(folder, own):
    """Give the products of a run by their names, without the files whose names tell of the run itself."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and not own.fullmatch(path.name)]
    return {str(path.relative_to(folder)): content(path) for path in paths}
