#!/usr/bin/env bash
# The motion on a lent GPU, step by step (docs/motion/gpu.md). Each call stays under ten minutes; state lies in $WORK.
#   scripts/gpu_motion.sh data DIR      copy packed clips from DIR to the machine (as often as they come in parts)
#   scripts/gpu_motion.sh bench         is the graph right, how fast is it; figures to $OUT
#   scripts/gpu_motion.sh train [MIN [TOTAL]]   one slice of flow training of `base`, resuming the last
#   scripts/gpu_motion.sh distil [MIN]  one slice of teaching it to do it in one step
#   scripts/gpu_motion.sh export        weights to $OUT in parts of 15 MB, with log and plot
#   scripts/gpu_motion.sh join DIR FILE put the parts together again (on any machine) and open the file
# DEVICE=cpu and SIZE=tiny rehearse it without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
size=${SIZE:-base}
WORK=${WORK:-/tmp/visavis-motion}
OUT=${OUT:-$WORK/out}
tokens=${TOKENS:-16000}
export TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 PYTHONUNBUFFERED=1
mkdir -p "$WORK/packed" "$OUT"

slice() {  # what, minutes, further arguments
  local stage=$1 minutes=$2 resume=()
  shift 2
  [ -e "$WORK/$size/$stage.pt" ] && resume=(--resume)
  "$python" -m scripts.train_motion --data "$WORK/packed" --out "$WORK/$size" --size "$size" --device "$device" \
    --tokens "$tokens" --minutes "$minutes" "${resume[@]}" "$@"
  cp "$WORK/$size/log.csv" "$OUT/"
}

case "${1:-}" in
  data)
    cp "${2:?the folder of packed clips}"/*.npz "$WORK/packed/"
    ls -l "$WORK/packed"
    ;;
  bench)
    unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE  # the bench asks for both
    "$python" -m pytest -q -p no:cacheprovider tests/test_motion_batch.py tests/test_motion_batch_features.py \
      tests/test_motion_together.py
    "$python" -m avatar.motion.diffusion.batch_bench "$device" | tee "$OUT/motion_gpu.txt"
    ;;
  train) slice flow "${2:-8.5}" --total "${3:-17}" ;;
  distil) slice distilled "${2:-6}" --distil --total "${2:-6}" ;;
  export)
    "$python" -m scripts.train_motion --out "$WORK/$size" --export "$WORK/motion_$size.safetensors"
    "$python" -m scripts.train_motion --out "$WORK/$size" --plot || echo "no plot: matplotlib is missing"
    split -b 15M -d "$WORK/motion_$size.safetensors" "$OUT/motion_$size.part"
    cp "$WORK/$size"/{log.csv,training.png} "$OUT/" 2>/dev/null || true
    sha256sum "$WORK/motion_$size.safetensors" | sed "s|$WORK/||" | tee "$OUT/motion_$size.sha256"
    ;;
  join)
    cat "${2:?the folder of the parts}/motion_$size".part* >"${3:?the file to write}"
    sed "s|  .*|  $3|" "$2/motion_$size.sha256" | sha256sum -c
    "$python" -c 'import sys; from pathlib import Path; from avatar.motion.diffusion.weights import load_weights
w = load_weights(Path(sys.argv[1])); print(w.width, w.layers, w.heads, w.steps, w.meta)' "$3"
    ;;
  *) sed -n '2,9s/^# *//p' "$0"; exit 2 ;;
esac
