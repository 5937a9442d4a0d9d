"""Two runs on the same data, such as with two versions of numpy or on two machines: how far their products are apart.

    python benchmarks/same_products.py OUTPUT_DIR OTHER_OUTPUT_DIR

Prints, for each kind of image and each table: values, those that are not equal, and the largest difference, of numbers
relative to the larger of the number and the median size of its image or column.
"""

import re
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from pymopex.kit.ipac import read_table


def difference(one: np.ndarray, two: np.ndarray) -> tuple[int, int, float]:
    """Give the number of values, of those that are not equal, and the largest relative difference."""
    if one.shape != two.shape:
        return one.size, one.size, np.inf
    if one.dtype.kind not in "fiub":
        return one.size, int((one != two).sum()), 0.0
    a, b = np.asarray(one, float), np.asarray(two, float)
    unlike = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not unlike.any():
        return a.size, 0, 0.0
    typical = np.nanmedian(np.abs(a)) if np.isfinite(a).any() else 0.0
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), typical)[unlike]
    far = np.abs(a - b)[unlike] / scale
    return a.size, int(unlike.sum()), float(np.max(np.where(np.isnan(far), np.inf, far)))


def pairs(folder: Path, other: Path) -> dict[str, list[tuple[int, int, float]]]:
    """Compare the products, by kind: the numbers in file names are left out."""
    found: dict[str, list[tuple[int, int, float]]] = {}
    for path in sorted(folder.rglob("*.fits")) + sorted(folder.rglob("*.tbl")):
        name = path.relative_to(folder)
        kind = re.sub(r"SPITZER_\w+?_[a-z]*bcd|\d+", "*", str(name))
        if not (other / name).exists():
            found.setdefault(kind, []).append((1, 1, np.inf))
        elif path.suffix == ".fits":
            images = (fits.getdata(p) for p in (path, other / name))
            found.setdefault(kind, []).append(difference(*images))
        elif path.read_text().find("\n|") >= 0:
            one, two = read_table(str(path)), read_table(str(other / name))
            for column, values in one.columns.items():
                found.setdefault(f"{kind}: {column}", []).append(difference(values, two.columns[column]))
    return found


def main() -> None:
    for kind, rows in pairs(Path(sys.argv[1]), Path(sys.argv[2])).items():
        count, unlike, largest = (
            np.sum([r[0] for r in rows]),
            np.sum([r[1] for r in rows]),
            max(r[2] for r in rows),
        )
        if unlike:
            print(f"{kind}: {len(rows)} files, {count} values, {unlike} unlike, by {largest:.2g}")
    print("all others are equal")


if __name__ == "__main__":
    main()
