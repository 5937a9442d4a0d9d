#!/bin/sh
# HDR Mask: saturated pixels of long frames, found with the short ones.
tasks="
hdr_mask
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive hdr_mask "$@"
