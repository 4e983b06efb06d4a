#!/usr/bin/env bash
# The relational core beside its peers on this machine, one after the other, in one run; prints seconds, peak memory and ratios.
#
#   PYTHON=… benches/relational.sh groceries     Complete Journey: purchases joined to products and 20.9 million promotions
#   PYTHON=… benches/relational.sh payments [N]  N generated payments (10,000,000) from CSV through the fraud features
#
# PYTHON names a Python with `pip`, `polars`, `pandas` and `pyarrow`; TAKT the program (default: target/release/takt, which is
# built). ROUNDS (3) may be set; pandas runs once. Every engine's time and memory are those of its whole process: start, read,
# compute, and the file that it writes; taktline's checking and planning are in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${PYTHON:?names a Python with pip, polars, pandas and pyarrow}"

work=${1:?groceries or payments} rounds=${ROUNDS:-3}
if [[ -z ${TAKT:-} ]]; then
    cargo build --release --quiet
    TAKT=${CARGO_TARGET_DIR:-$PWD/target}/release/takt
fi
takt=$(realpath "$TAKT")
folder=$PWD/target/bench-$work
mkdir -p "$folder"
results=$folder/results.jsonl
: >"$results"

case $work in
groceries)
    "$PYTHON" datasets/pull groceries
    tables=datasets/pulled/groceries
    run_takt=(run benches/groceries.yaml --fresh --param "folder=$tables" --param "output=$folder/takt.parquet")
    peer=benches/peers/groceries.py input=$tables
    ;;
payments)
    rows=${2:-10000000}
    csv=$folder/payments-$rows.csv
    if [[ ! -f $csv ]]; then
        printf 'pipeline: generate\nstages:\n  - source.synthetic.payments: {rows: %s, seed: 7}\n  - sink.csv: {path: %s}\n' "$rows" "$csv" >"$folder/generate.yaml"
        "$takt" run "$folder/generate.yaml" >/dev/null
    fi
    # The same stages with the rows written at the end, as a user would keep them.
    { cat benches/fraud-features.yaml; printf '  - sink.parquet: {path: "%s"}\n' "$folder/takt.parquet"; } >"$folder/features.yaml"
    run_takt=(run "$folder/features.yaml" --fresh --param "input=$csv")
    peer=benches/peers/fraud_features.py input=$csv
    ;;
*)
    echo "unknown work: $work" >&2
    exit 2
    ;;
esac

# Seconds and peak memory of a process, beside the sums that a peer prints.
measured() {
    "$PYTHON" - "$@" <<'PYTHON'
import json, resource, subprocess, sys, time
engine, *command = sys.argv[1:]
began = time.perf_counter()
run = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
sums = {} if engine == "taktline" else {"sums": json.loads(run.stdout)["sums"]}
print(json.dumps({"engine": engine, "seconds": round(seconds, 3), "peak_mb": round(peak), **sums}))
PYTHON
}
peer() { measured "$1" "$PYTHON" "$peer" "$1" "$input" "$folder/$1.parquet"; }

for ((round = 1; round <= rounds; round++)); do
    measured taktline "$takt" "${run_takt[@]}" | tee -a "$results"
    peer polars | tee -a "$results"
    peer polars-streaming | tee -a "$results"
done
peer pandas | tee -a "$results"

# What comes before the first row: `takt plan` checks the spec against the files and asks for every hit and miss. Files were read before.
"$PYTHON" - "$takt" plan "${run_takt[@]:1}" <<'PYTHON'
import statistics, subprocess, sys, time
command = [argument for argument in sys.argv[1:] if argument != "--fresh"]
took = []
for _ in range(11):
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took.append(1000 * (time.perf_counter() - began))
print(f"check and plan: {statistics.median(took):.0f} ms (the median of 11 whole processes; target: below 100)")
PYTHON

"$PYTHON" - "$results" "$folder/takt.parquet" <<'PYTHON'
import json, math, sys
import polars as pl

best, sums = {}, None
for line in open(sys.argv[1]):
    result = json.loads(line)
    if "sums" in result:
        sums = sums or result["sums"]
        assert all(math.isclose(sums[name], value, rel_tol=1e-9) for name, value in result["sums"].items()), result
    known = best.get(result["engine"])
    if known is None or result["seconds"] < known["seconds"]:
        best[result["engine"]] = result
ours = pl.read_parquet(sys.argv[2])
for name, value in sums.items():
    assert math.isclose(float(ours[name].sum()), value, rel_tol=1e-9), (name, ours[name].sum(), value)
print("all engines agree on", ", ".join(sums))
taktline = best["taktline"]
for engine, result in best.items():
    print(f"{engine:17} {result['seconds']:8.3f} s {result['peak_mb']:6} MB; taktline takes {taktline['seconds'] / result['seconds']:.2f} of its time")
PYTHON
