#!/usr/bin/env bash
# The digit-inspection network trained three ways on this machine, one after the other, in rounds: takt, the bare tch loop,
# PyTorch eager. Prints the seconds of an epoch (the best of all rounds but each round's first epoch) and the ratios.
#
#   benches/cnn.sh [IMAGES LABELS]
#
# PYTHON names a Python with `torch==2.13.0` and `numpy`; without it PyTorch is left out. ROUNDS (3) and EPOCHS (3) may be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

images=${1:-datasets/mnist/digits-10k-images-idx3-ubyte.gz}
labels=${2:-datasets/mnist/digits-10k-labels-idx1-ubyte.gz}
rounds=${ROUNDS:-3} epochs=${EPOCHS:-3}
results=$(mktemp)
trap 'rm -f "$results"' EXIT

cargo build --release --quiet --workspace --examples
built=${CARGO_TARGET_DIR:-target}/release/examples
for ((round = 1; round <= rounds; round++)); do
    "$built/digits" "$images" "$labels" 8000 "$epochs" "$round" | tee -a "$results"
    "$built/bare_loop" "$images" "$labels" 8000 "$epochs" "$round" | tee -a "$results"
    if [[ -n ${PYTHON:-} ]]; then
        "$PYTHON" benches/peers/cnn_pytorch.py --images "$images" --labels "$labels" --epochs "$epochs" --seed "$round" | tee -a "$results"
    fi
done

python3 - "$results" <<'PYTHON'
import json
import sys

best = {}
for line in open(sys.argv[1]):
    result = json.loads(line)
    # An engine's first epoch also warms up: libtorch is loaded, kernels are chosen.
    seconds = min(result["seconds_per_epoch"][1:] or result["seconds_per_epoch"])
    best[result["engine"]] = min(seconds, best.get(result["engine"], seconds))
for engine, seconds in best.items():
    print(f"{engine:8} {seconds:7.3f} s an epoch of 8,000 images, batch 32; takt takes {best['takt'] / seconds:.3f} of it")
PYTHON
