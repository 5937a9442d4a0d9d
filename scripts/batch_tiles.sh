#!/bin/sh
# A wide mosaic as an array job: one job per tile, on any batch system, or here with a plain shell.
#
#   batch_tiles.sh cut WORK SIZE FIF NAMELIST [WORD ...]   cut the grid into tiles of about SIZE pixels
#   batch_tiles.sh job WORK [NUMBER]                       make a tile; the number may come from the batch system
#   batch_tiles.sh combine WORK                            put the tiles together to one mosaic of each kind
#   batch_tiles.sh local WORK [PROCESSES]                  all jobs on this machine, so many at a time (1)
#
# Words are those of mosaic.sh: -I images.txt -S sigmas.txt -d masks.txt KEY=VALUE ... All paths are seen from the folder
# in which the script is started, by jobs too. A job takes the frames on its tile and those that overlap these, which
# outliers are judged by, so that tiles are those of one run; with Whole_Frames=0 the frames on its tile and a margin.
# WORK/jobs.txt has the numbers of the tiles: for Slurm
#   sbatch --array=1-$(wc -l < WORK/jobs.txt) --wrap "batch_tiles.sh job WORK"
# Tiles are WORK/tiles/<number>_mosaic.fits, and _unc, _cov, _std; WORK/tiles.tbl tells their places on WORK/grid.tbl.
# A job whose tile is there does nothing, so that the same command makes what a broken run left.
set -eu
PATH="$(dirname -- "$0"):$PATH"
parts="mosaic mosaic_unc mosaic_cov mosaic_std"

fail() {
    echo "Error: $1" >&2
    exit 2
}

cut_grid() {
    work=$1 size=$2 fif=$3 namelist=$4
    shift 4
    mkdir -p "$work"
    mopex cut_fif "$namelist" "$@" FIF_FILE_NAME="$fif" OUTPUT_DIR="$work" Tile_Size="$size"
    printf '%s\n' -n "$namelist" "$@" > "$work/words.txt"
    ls "$work" | sed -n 's/^core_\([0-9]*\)\.tbl$/\1/p' | sort -n > "$work/jobs.txt"
}

make_tile() {
    work=$1
    number=${2:-${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-${SGE_TASK_ID:-}}}}
    [ -n "$number" ] || fail "job: the number of a tile is missing: batch_tiles.sh job WORK NUMBER"
    [ -e "$work/core_$number.tbl" ] || fail "$work/core_$number.tbl: no such tile; run batch_tiles.sh cut first"
    if [ -e "$work/tiles/${number}_done" ]; then
        echo "tile $number is there"
        return
    fi
    mkdir -p "$work/tiles"
    set --
    while IFS= read -r word; do set -- "$@" "$word"; done < "$work/words.txt"
    out="$work/job_$number"
    for list in I_images S_sigmas d_masks R_rmasks; do
        path="$work/job_${number}_${list#*_}.txt"
        [ ! -e "$path" ] || set -- "$@" "-${list%%_*}" "$path"
    done
    if [ -e "$work/job_${number}_images.txt" ] && [ ! -s "$work/job_${number}_images.txt" ]; then
        echo "tile $number: no frame lies on it"
        touch "$work/tiles/${number}_done"
        return
    fi
    mopex drive mosaic "$@" -F "$work/job_$number.tbl" -O "$out" run_fiducial_image_frame=0 run_mosaic_geom=0 \
        create_report=0 delete_intermediate_files=1 keep_coadded_tiles=0
    for part in $parts; do
        found=$(find "$out" -name "$part.fits" | head -n 1)
        [ -n "$found" ] || continue # no frame on this tile, or not asked for
        echo "$found" > "$out/part.txt"
        mopex mosaic_combine FIF_FILE_NAME="$work/core_$number.tbl" Tile_List="$out/part.txt" \
            OUTPUT_DIR="$work/tiles" Combined_Image="${number}_$part.fits"
    done
    rm -r "$out"
    touch "$work/tiles/${number}_done"
}

combine() {
    work=$1
    for number in $(cat "$work/jobs.txt"); do
        [ -e "$work/tiles/${number}_done" ] || fail "tile $number is missing; run batch_tiles.sh job $work $number"
    done
    for part in $parts; do
        find "$work/tiles" -name "[0-9]*_$part.fits" | sort > "$work/$part.txt"
        if [ -s "$work/$part.txt" ]; then
            mopex mosaic_combine FIF_FILE_NAME="$work/grid.tbl" Tile_List="$work/$part.txt" OUTPUT_DIR="$work" \
                Combined_Image="$part.fits"
        fi
    done
}

case "${1:-} $#" in
"cut "[5-9] | "cut "[1-9][0-9]*) shift && cut_grid "$@" ;;
"job 2" | "job 3") shift && make_tile "$@" ;;
"combine 2") combine "$2" ;;
"local 2" | "local 3") xargs -P "${3:-1}" -n 1 "$0" job "$2" < "$2/jobs.txt" && combine "$2" ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
