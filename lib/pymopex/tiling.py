"""Division of the mosaic into tiles."""

from __future__ import annotations

from pymopex.geometry import Box


def tiles(naxis1: int, naxis2: int, max_x: int, max_y: int) -> list[Box]:
    """Cut an image into tiles of about a given size.

    Parameters
    ----------
    naxis1, naxis2 : int
        Size of the image in x and y. [pixel]
    max_x, max_y : int
        Suggested size of a tile. [pixel]

    Returns
    -------
    list of Box
        Tiles row by row, x fastest. They do not overlap and cover the image.

    Raises
    ------
    ValueError
        If a size is less than 1.

    Notes
    -----
    The suggested size is not a limit: the last tile of a row or column is larger by the remainder, and an axis of up
    to one and a half suggested sizes is one tile.

    References
    ----------
    MOPEX User's Guide, section 8.1.
    """
    if min(naxis1, naxis2, max_x, max_y) < 1:
        raise ValueError(f"sizes must be at least 1: image {naxis1} x {naxis2}, tile {max_x} x {max_y}")
    columns, rows = _cuts(naxis1, max_x), _cuts(naxis2, max_y)
    return [Box(x0, y0, nx, ny) for y0, ny in rows for x0, nx in columns]


def _cuts(length: int, suggested: int) -> list[tuple[int, int]]:
    """First pixel and size of each tile along one axis."""
    count = max(1, length // suggested + (length % suggested > suggested / 2))
    size = length // count
    return [(i * size, size) for i in range(count - 1)] + [((count - 1) * size, size + length % count)]
