#!/bin/sh
# Overlap: one constant per frame makes the backgrounds of overlapping frames agree.
tasks="
sn_estimator
zodiacal_subtraction
fiducial_image_frame
medfilter
detect_outlier
mosaic_interp
compute_overlap_correction
mosaic_corrected_images
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive overlap "$@"
