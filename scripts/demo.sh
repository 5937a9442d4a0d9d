#!/bin/sh
# A small simulated field through the whole flow, compared with its truth: demo.sh [FOLDER] [SIMULATE.KEY=VALUE ...]
set -e
PATH="$(dirname -- "$0"):$PATH"
folder=${1:-demo}
[ $# -gt 0 ] && shift
if [ -e "$folder" ]; then
    echo "Error: $folder exists already; name another folder: demo.sh FOLDER" >&2
    exit 2
fi
mkdir -p "$folder"
cd "$folder"
mopex simulate OUTPUT_DIR=data N_Frames=30 "$@"
mopex make_prf Input_Dir=data/prfs_x5 Channel=1 Magnification_Method=spline OUTPUT_DIR=prf
mopex new flow I1
flow.sh -I data/images.txt -S data/sigmas.txt -d data/masks.txt -m prf/prfmap.tbl \
    -P prf/IRAC1_mosaic_detect_kernel.fits -O out overlap_I1.nl mosaic_I1.nl apex_I1.nl apex_qa_I1.nl
mopex compare out/apex_I1.nl Truth_Dir=data/truth
echo
echo "Products in $folder/out:"
for name in Overlap_corr/offsets.tbl Combine-mosaic/mosaic.fits Combine-mosaic/mosaic_unc.fits \
    Combine-mosaic/mosaic_cov.fits Combine-mosaic/mosaic_std.fits Rmask-mosaic/rejected.tbl detect.tbl \
    extract_raw.tbl extract.tbl Residual/mosaic/Combine/mosaic.fits provenance.json comparison.txt comparison.png; do
    [ -e "out/$name" ] && echo "  $name"
done
