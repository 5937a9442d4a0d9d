"""The parameters that MedFilter and its sisters share, as the library takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymopex.background import MedianWindow
    from pymopex.kit.parameters import Params
    from pymopex.kit.task import Run


def median_window(p: Params) -> MedianWindow:
    """Make the settings of a running median from the parameters of a block."""
    from pymopex.background import MedianWindow

    names = {value.parameter.name for value in p}
    fraction = p.Max_Bad_Pixels_OutputImage
    return MedianWindow(
        window_x=p.Window_X,
        window_y=p.Window_Y,
        n_outliers=p.N_Outliers_Per_Window,
        min_good_pixels=p.Min_Good_Pixels_In_Window,
        min_good_neighbors=p.Min_GoodNeighbors_Number,
        max_bad_fraction=fraction if fraction <= 1 else fraction / 100,
        use_sbkg="Use_Sbkg_for_Med" in names and p.Use_Sbkg_for_Med == 1,
        sbkg_filter=p.Sbkg_Filt_Size_for_Med if "Sbkg_Filt_Size_for_Med" in names else 1,
    )


def check_window(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    from pymopex.kit.checking import problems_of_settings

    return problems_of_settings(run, lambda: median_window(run.params), _FIELDS, ("Window_X", "Window_Y"))


_FIELDS = {
    "n_outliers": "N_Outliers_Per_Window",
    "min_good_pixels": "Min_Good_Pixels_In_Window",
    "min_good_neighbors": "Min_GoodNeighbors_Number",
    "max_bad_fraction": "Max_Bad_Pixels_OutputImage",
}
