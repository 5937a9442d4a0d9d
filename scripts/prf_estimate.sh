#!/bin/sh
# PRF Estimate: a PRF, or a set of them over the array, from stars of one image or of all frames.
tasks="
medfilter
crop_stack
prf_estimate
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive prf_estimate "$@"
