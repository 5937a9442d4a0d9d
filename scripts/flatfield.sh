#!/bin/sh
# Flatfield: a flat field from the frames themselves, and the frames divided by it.
tasks="
medfilter
detect_outlier
flatfield
apply_flatfield
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive flatfield "$@"
