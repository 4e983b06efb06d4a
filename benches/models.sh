#!/usr/bin/env bash
# Models of taktline beside scikit-learn, LightGBM and PyTorch eager: the same data, seconds to fit and to predict, quality on rows
# that were not learned from. Prints a Markdown table; takes about ten minutes on two cores.
#
#   PYTHON=.venv/bin/python benches/models.sh [TASK…]
#
# PYTHON names a Python with `scikit-learn==1.9.1 lightgbm==4.7.0 torch==2.13.0`; without it taktline's figures stand alone. The data,
# some 500 MB, go to FOLDER (target/bench-models). All engines may use all cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A peer is measured as its wheels come.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
folder=$(realpath -m "${FOLDER:-target/bench-models}")
results=$(mktemp)
trap 'rm -f "$results"' EXIT

cargo build --release --quiet
cargo bench --quiet --bench models -- "$folder" "$@" | tee -a "$results" >&2
if [[ -n ${PYTHON:-} ]]; then
    "$PYTHON" benches/peers/models.py "$folder" "$@" | tee -a "$results" >&2
fi

printf '\n%s cores, load %s\n\n' "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
python3 - "$results" <<'PYTHON'
import json
import sys

ours, peers = {}, {}
for line in open(sys.argv[1]):
    if line.startswith("{"):
        result = json.loads(line)
        (ours if result["engine"] == "takt" else peers)[result["task"]] = result


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


print("| model | rows × numbers | fit | peer | ratio | predict | peer | ratio | quality | peer |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
for name, result in ours.items():
    peer = peers.get(name)
    cells = [f"`{result['kind']}`", f"{result['rows']:,} × {result['numbers']}"]
    for part in ("fit", "predict"):
        cells.append(seconds(result[part]))
        cells += [f"{seconds(peer[part])}, {peer['engine']}", f"{result[part] / peer[part]:.2f}"] if peer else ["–", "–"]
    cells += [f"{result['measure']} {result['quality']:.4f}", f"{peer['quality']:.4f}" if peer else "–"]
    print("| " + " | ".join(cells) + " |")
PYTHON
