#!/bin/sh
# Pointing Refine: shifts and turns of the frames that make their sources agree.
tasks="
pointingrefine
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive pointingrefine "$@"
