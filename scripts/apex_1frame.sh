#!/bin/sh
# APEX on one image, such as a mosaic: sources found on it and fitted in it.
tasks="
sn_estimator
detect_medfilter
gaussnoise
pointsourceprob
psp_gaussnoise
detect
extract_medfilter
fit_radius
select_detect
sourcestimate
aperture
select
photcorr
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex_1frame "$@"
