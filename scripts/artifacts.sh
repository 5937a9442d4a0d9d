#!/bin/sh
# Artifacts of single frames, to be mitigated before Overlap; switch on what the frames need.
tasks="
fix_muxbleed
fix_pulldown
fix_banding
fix_jailbars
flag_latents
fix_background
fix_array_location
"
PATH="$(dirname -- "$0"):$PATH"
exec mopex drive artifacts "$@"
