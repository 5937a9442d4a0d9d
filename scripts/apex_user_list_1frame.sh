#!/bin/sh
# APEX at the positions of a list on one image: sources fitted in it, without detection.
tasks="
sn_estimator
detect_medfilter
gaussnoise
extract_medfilter
sourcestimate
aperture
select
photcorr
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex_user_list_1frame "$@"
