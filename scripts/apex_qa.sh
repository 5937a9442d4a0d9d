#!/bin/sh
# APEX QA: frames minus the fitted sources, and their mosaic; or one image minus the sources.
tasks="
pointsourceimage
mosaic_interp
mosaic_coadder
mosaic_combiner
mosaic_pointsourceimage
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive apex_qa "$@"
