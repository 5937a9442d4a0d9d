#!/bin/sh
# APEX multiframe: sources found on the co-added tiles and fitted in all frames at once.
tasks="
sn_estimator
fiducial_image_frame
mosaic_interp
mosaic_coadder
detect_medfilter
gaussnoise
pointsourceprob
psp_gaussnoise
detect
mosaic_combiner
extract_medfilter
fit_radius
select_detect
sourcestimate
aperture
select
photcorr
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex "$@"
