#!/usr/bin/env bash
# Peak memory of a pipeline of relational stages against the size of its input: streaming from Parquet and from CSV, and with a stage
# (a lag over all rows) that needs them in memory. Prints a line a size, and megabytes a million rows between the two largest sizes.
#
#   benches/streaming.sh [MILLIONS…]      (default: 1 4 8 16)
#
# TAKT names the program (default: target/release/takt, which is built). The rows take about 120 bytes each in memory, and
# are generated into a temporary directory first; that alone takes more memory than what is measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sizes=("$@")
[[ ${#sizes[@]} -gt 0 ]] || sizes=(1 4 8 16)
if [[ -z ${TAKT:-} ]]; then
    cargo build --release --quiet
    TAKT=target/release/takt
fi
takt=$(realpath "$TAKT")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >make.yaml <<'YAML'
pipeline: make
params: {rows: {type: integer}}
stages:
  - source.synthetic.payments: {rows: "${rows}"}
    id: payments
  - sink.parquet: {path: payments.parquet}
  - {sink.csv: {path: payments.csv}, from: payments}
YAML
modes=(streaming streaming_csv in_memory)
for mode in "${modes[@]}"; do
    lag='' format=parquet
    [[ $mode != streaming_csv ]] || format=csv
    [[ $mode != in_memory ]] || lag='  - features.lag: {over: payment_id, columns: [amount]}'
    cat >$mode.yaml <<YAML
pipeline: ${mode//_/-}
stages:
  - source.$format: {path: payments.$format}
    id: payments
  - clean.fill_null: {columns: balance_after, value: 0}
  - features.derive: {log_amount: ln(amount + 1), share: amount / (balance_before + 1)}
$lag
  - clean.filter: {where: amount > 10}
  - sink.parquet: {path: out.parquet}
YAML
done

for millions in "${sizes[@]}"; do
    "$takt" run make.yaml --param rows=$((millions * 1000000)) >/dev/null 2>&1
    rm -rf .taktline
    for mode in "${modes[@]}"; do
        python3 - "$millions" "$mode" "$takt" <<'PYTHON' | tee -a results
import json
import subprocess
import sys
import time

millions, mode, takt = sys.argv[1:]
began = time.monotonic()
run = subprocess.Popen(
    [takt, "run", f"{mode}.yaml", "--fresh"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
# VmHWM counts the pages of the input that are mapped, which the system takes back when it needs them; RssAnon does not.
peak = {"VmHWM": 0, "RssAnon": 0}
while run.poll() is None:
    try:
        for line in open(f"/proc/{run.pid}/status"):
            key, _, value = line.partition(":")
            if key in peak:
                peak[key] = max(peak[key], int(value.split()[0]) / 1000)
    except OSError:
        pass
    time.sleep(0.005)
if run.returncode:
    sys.exit(f"{mode}: takt failed")
print(json.dumps({"millions": int(millions), "mode": mode, "seconds": round(time.monotonic() - began, 1), **peak}))
PYTHON
    done
done

python3 - results <<'PYTHON'
import json
import sys

results = [json.loads(line) for line in open(sys.argv[1])]
for mode in ["streaming", "streaming_csv", "in_memory"]:
    rows = [one for one in results if one["mode"] == mode]
    for one in rows:
        print(f'{mode:13} {one["millions"]:4} million rows {one["seconds"]:7.1f} s  peak {one["VmHWM"]:8.0f} MB, without mapped files {one["RssAnon"]:8.0f} MB')
    if len(rows) > 1:
        last, before = rows[-1], rows[-2]
        slope = (last["RssAnon"] - before["RssAnon"]) / (last["millions"] - before["millions"])
        print(f"{mode:13} slope {slope:.1f} MB a million rows")
PYTHON
