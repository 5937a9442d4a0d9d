"""The file name of every product, once: the task that writes it and the tasks that read it ask here.

``{top}`` is the top directory of the mosaic: `OUTPUT_DIR`, or the place of the residual mosaic in APEX QA.
Names in capitals are directory keys of the namelist. ``{base}`` is a frame's file name without ``.fits``,
``{list}`` the file name of the list of frames, ``{tile}`` the number of a tile, from 1. Each product stands with
the task that makes it ('' for the driver).
"""

from __future__ import annotations

PRODUCTS: dict[str, tuple[str, str]] = {
    "fif": ("fiducial_image_frame", "{top}/FIF.tbl"),
    "header_list": ("fiducial_image_frame", "{top}/header_list.tbl"),
    "mosaic_fif": ("mosaic_interp", "{top}/mosaic_fif.tbl"),
    "provenance": ("", "{OUTPUT_DIR}/provenance.json"),
    "as_run": ("", "{OUTPUT_DIR}/{list}"),
    "minback": ("medfilter", "{MEDFILTER_DIR}/{base}_minback.fits"),
    "minback_list": ("medfilter", "{MEDFILTER_DIR}/minback_{list}"),
    "minus_median_extract": ("extract_medfilter", "{MEDFILTER_DIR}/{base}_minus_median_extract.fits"),
    "detmap": ("detect_outlier", "{DETECT_DIR}/{base}_detmap.fits"),
    "interp": ("mosaic_interp", "{INTERP_DIR}/interp_{base}.fits"),
    "interp_covg": ("mosaic_interp", "{INTERP_DIR}/interp_{base}_covg.fits"),
    "interp_unc": ("mosaic_interp", "{INTERP_DIR}/interp_unc_{base}.fits"),
    "interp_table": ("mosaic_interp", "{INTERP_DIR}/interp_{list}.tbl"),
    "interp_list": ("mosaic_interp", "{INTERP_DIR}/interp_{list}"),
    "interp_covg_list": ("mosaic_interp", "{INTERP_DIR}/interp_covg_{list}"),
    "interp_unc_list": ("mosaic_interp", "{INTERP_DIR}/interp_unc_{list}"),
    "reinterp": ("mosaic_reinterp", "{REINTERP_DIR}/interp_{base}.fits"),
    "reinterp_covg": ("mosaic_reinterp", "{REINTERP_DIR}/interp_{base}_covg.fits"),
    "reinterp_unc": ("mosaic_reinterp", "{REINTERP_DIR}/interp_unc_{base}.fits"),
    "reinterp_table": ("mosaic_reinterp", "{REINTERP_DIR}/interp_{list}.tbl"),
    "offsets": ("compute_overlap_correction", "{OVERLAP_CORR_DIR}/{OVERLAP_CORR_FILE_NAME}"),
    "corrected": ("compute_overlap_correction", "{OVERLAP_CORR_DIR}/correct_{base}.fits"),
    "corrected_list": ("compute_overlap_correction", "{OVERLAP_CORR_DIR}/correct_{list}"),
    "proj": ("mosaic_proj", "{DUAL_OUTLIER_DIR}/proj_{base}_detmap.fits"),
    "dual_counts": ("mosaic_dual_outlier", "{DUAL_OUTLIER_DIR}/counts_Tile_{tile}.fits"),
    "dual": ("mosaic_dual_outlier", "{DUAL_OUTLIER_DIR}/proj_{base}_detmap_dual_outlier.fits"),
    "level": ("level", "{DUAL_OUTLIER_DIR}/proj_{base}_detmap_dual_outlier_level.fits"),
    "outlier_tile": ("mosaic_outlier", "{OUTLIER_DIR}/statistics_Tile_{tile}.fits"),
    "outlier": ("mosaic_outlier", "{OUTLIER_DIR}/interp_{base}_outlier.fits"),
    "box_outlier_tile": ("mosaic_box_outlier", "{BOX_OUTLIER_DIR}/statistics_Tile_{tile}.fits"),
    "box_outlier": ("mosaic_box_outlier", "{BOX_OUTLIER_DIR}/interp_{base}_box_outlier.fits"),
    "covg_tile": ("mosaic_covg", "{RMASK_DIR}/covg_Tile_{tile}.fits"),
    "covg_tiles": ("mosaic_covg", "{RMASK_DIR}/covg_TilesList.tbl"),
    "covg_map": ("mosaic_covg", "{top}/covg_map.fits"),
    "rmask": ("mosaic_rmask", "{RMASK_DIR}/{base}_rmask.fits"),
    "rmask_list": ("mosaic_rmask", "{RMASK_DIR}/rmask_{list}"),
    "rejected": ("mosaic_rmask", "{RMASK_DIR}/rejected.tbl"),
    "coadd_image": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tile_{tile}_Image.fits"),
    "coadd_cov": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tile_{tile}_Cov.fits"),
    "coadd_unc": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tile_{tile}_Unc.fits"),
    "coadd_std": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tile_{tile}_Std_Unc.fits"),
    "coadd_exposure": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tile_{tile}_Exp_Cov.fits"),
    "coadd_tiles": ("mosaic_coadder", "{COADDER_DIR}/coadd_tiles.tbl"),
    "coadd_tile_bcd": ("mosaic_coadder", "{COADDER_DIR}/coadd_tile_bcd.txt"),
    "coadd_tiles_list": ("mosaic_coadder", "{COADDER_DIR}/coadd_Tiles_List"),
    "coadd_cov_list": ("mosaic_coadder", "{COADDER_DIR}/coadd_Cov_Tiles_List"),
    "coadd_unc_list": ("mosaic_coadder", "{COADDER_DIR}/coadd_Sigma_Tiles_List"),
    "tile_minback": ("detect_medfilter", "{COADDER_DIR}/coadd_Tile_{tile}_Image_minback.fits"),
    "tile_noise": ("gaussnoise", "{COADDER_DIR}/coadd_Tile_{tile}_Image_noise.fits"),
    "tile_psp": ("pointsourceprob", "{COADDER_DIR}/coadd_Tile_{tile}_Image_PSP.fits"),
    "tile_filtered": ("pointsourceprob", "{COADDER_DIR}/coadd_Tile_{tile}_Image_Filtered.fits"),
    "tile_detect_map": ("detect", "{COADDER_DIR}/coadd_Tile_{tile}_Image_detmap.fits"),
    "mosaic": ("mosaic_combiner", "{COMBINER_DIR}/mosaic.fits"),
    "mosaic_cov": ("mosaic_combiner", "{COMBINER_DIR}/mosaic_cov.fits"),
    "mosaic_unc": ("mosaic_combiner", "{COMBINER_DIR}/mosaic_unc.fits"),
    "mosaic_std": ("mosaic_combiner", "{COMBINER_DIR}/mosaic_std.fits"),
    "arraycorr": ("make_array_corr_files", "{ARRAY_CORR_DIR}/arraycorr_{base}.fits"),
    "arraycorr_list": ("make_array_corr_files", "{ARRAY_CORR_DIR}/arraycorr_{list}"),
    "mosaic_arraycorr": ("make_array_corr_mosaic", "{COMBINER_DIR}/mosaic_arraycorr.fits"),
    "detect": ("detect", "{OUTPUT_DIR}/detect.tbl"),
    "detect_raw": ("detect", "{OUTPUT_DIR}/detect_raw.tbl"),
    "complete": ("detect", "{OUTPUT_DIR}/{list}"),
    "prf_table": ("sourcestimate", "{OUTPUT_DIR}/prf_table.npz"),
    "extract_raw": ("sourcestimate", "{OUTPUT_DIR}/extract_raw.tbl"),
    "extract": ("select", "{OUTPUT_DIR}/extract.tbl"),
    "aperture": ("aperture", "{OUTPUT_DIR}/aperture.tbl"),
    "residual_prf_table": ("pointsourceimage", "{RESIDUAL_DIR}/prf_table.npz"),
    "residual": ("pointsourceimage", "{RESIDUAL_DIR}/residual_{base}.fits"),
    "residual_list": ("pointsourceimage", "{RESIDUAL_DIR}/residual_{list}"),
    "pointsource": ("pointsourceimage", "{RESIDUAL_DIR}/pointsource_{base}.fits"),
    "pointsource_list": ("pointsourceimage", "{RESIDUAL_DIR}/pointsource_{list}"),
    "simulated": ("simulate", "{OUTPUT_DIR}/bcd/{base}.fits"),
    "simulated_images": ("simulate", "{OUTPUT_DIR}/images.txt"),
    "simulated_sigmas": ("simulate", "{OUTPUT_DIR}/sigmas.txt"),
    "simulated_masks": ("simulate", "{OUTPUT_DIR}/masks.txt"),
    "simulated_pmask": ("simulate", "{OUTPUT_DIR}/pmask.fits"),
    "simulated_prf": ("simulate", "{OUTPUT_DIR}/prfs_x5/{base}.fits"),
    "true_sources": ("simulate", "{OUTPUT_DIR}/truth/sources.tbl"),
    "true_offsets": ("simulate", "{OUTPUT_DIR}/truth/offsets.tbl"),
    "true_hits": ("simulate", "{OUTPUT_DIR}/truth/hits/{base}_hits.fits"),
    "comparison": ("compare", "{OUTPUT_DIR}/comparison.txt"),
    "comparison_picture": ("compare", "{OUTPUT_DIR}/comparison.png"),
}


def made_by(task: str) -> list[str]:
    """Give the products of a task as patterns, for help and manual."""
    return [_pattern(template) for maker, template in PRODUCTS.values() if maker == task]


def _pattern(template: str) -> str:
    import re

    shown = template.replace("{top}/", "").replace("{OUTPUT_DIR}/", "")
    for name, text in (("{list}", "<list>"), ("{base}", "<base>"), ("{tile}", "<n>")):
        shown = shown.replace(name, text)
    return re.sub(r"{(\w+)}", r"\1", shown)
