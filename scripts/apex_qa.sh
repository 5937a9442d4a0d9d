#!/bin/sh
# APEX QA: frames minus the fitted sources, and their mosaic.
tasks="
pointsourceimage
mosaic_interp
mosaic_coadder
mosaic_combiner
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex_qa "$@"
