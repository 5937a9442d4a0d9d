#!/bin/sh
# APEX at the positions of a list: sources fitted in all frames at once, without detection.
tasks="
sn_estimator
fiducial_image_frame
mosaic_interp
mosaic_coadder
detect_medfilter
gaussnoise
mosaic_combiner
extract_medfilter
detection_map
sourcestimate
aperture
select
photcorr
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex_user_list "$@"
