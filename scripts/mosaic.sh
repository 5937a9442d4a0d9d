#!/bin/sh
# Mosaic: frames interpolated, outliers found and left out, averaged, combined.
tasks="
fiducial_image_frame
medfilter
mosaic_interp
detect_outlier
mosaic_proj
mosaic_covg
mosaic_dual_outlier
level
mosaic_outlier
mosaic_box_outlier
mosaic_rmask
mosaic_reinterp
mosaic_coadder
mosaic_combiner
make_array_corr_files
make_array_corr_mosaic
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive mosaic "$@"
