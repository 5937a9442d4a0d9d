#!/bin/sh
# Mosaic: frames interpolated, outliers found and left out, averaged, combined.
tasks="
sn_estimator
fiducial_image_frame
mosaic_geom
medfilter
detect_radhit
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
fix_coverage
mosaic_coadder
mosaic_combiner
mosaic_medfilter
create_outlier_mosaic
create_dual_outlier_mosaic
create_rmask_mosaic
make_array_corr_files
make_array_corr_mosaic
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive mosaic "$@"
