#!/usr/bin/env bash
# What the scheduler costs and how late it is, on this machine:
#   1. idle, with one nightly schedule: memory and processor time over a minute;
#   2. ten thousand schedules due in the same minute, each in its own second: how late each job is queued;
#   3. a million runs in the store: `takt runs list`, and an answer of `/metrics`.
#
#   benches/scheduler.sh
#
# TAKT names another build to measure. Takes about four minutes; needs python3 for its sqlite3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -n ${TAKT:-} ]] || cargo build --release --quiet
takt=$(realpath "${TAKT:-${CARGO_TARGET_DIR:-target}/release/takt}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf 'a\n1\n' >rows.csv

spec() { # name, schedules
    printf 'pipeline: %s\nstages:\n  - source.csv: {path: rows.csv}\n  - sink.csv: {path: out.csv}\nschedule:\n%s' "$1" "$2"
}

mkdir idle many
spec nightly $'  - {id: s, cron: "0 2 * * *"}\n' >idle/nightly.yaml
TAKT_STORE=idle.db "$takt" scheduler idle 2>/dev/null &
process=$!
sleep 5
ticks() { awk '{print $14 + $15}' "/proc/$process/stat"; }
before=$(ticks)
sleep 60
after=$(ticks)
resident=$(awk '/VmRSS/ {print $2}' "/proc/$process/status")
kill "$process" && wait "$process" || true
awk -v ticks=$((after - before)) -v per="$(getconf CLK_TCK)" -v kb="$resident" \
    'BEGIN {printf "idle: %.1f MB resident, %.2f %% of a core\n", kb / 1000, 100 * ticks / per / 60}'

# A hundred files of a hundred schedules, spread over the seconds of every minute.
for file in $(seq 0 99); do
    schedules=$(for number in $(seq 0 99); do
        printf '  - {id: s%d, cron: "%d * * * * *", overlap: allow}\n' "$number" $(((file * 100 + number) % 60))
    done)
    spec "p$file" "$schedules"$'\n' >"many/p$file.yaml"
done
TAKT_STORE=many.db "$takt" scheduler many --no-worker 2>/dev/null &
process=$!
sleep 130
resident=$(awk '/VmRSS/ {print $2}' "/proc/$process/status")
kill "$process" && wait "$process" || true
python3 - "$resident" <<'PYTHON'
import sqlite3
import sys

rows = sqlite3.connect("many.db").execute("SELECT queued_at - logical_time FROM jobs ORDER BY 1").fetchall()
late = [row[0] for row in rows]
at = lambda share: late[min(len(late) - 1, int(len(late) * share))]
print(f"10,000 schedules: {len(late):,} jobs, late by {at(0.5)} ms (median), {at(0.99)} ms (99 %), {late[-1]} ms (most); {int(sys.argv[1]) / 1000:.1f} MB resident")
PYTHON

TAKT_STORE=list.db "$takt" scheduler idle --check >/dev/null
python3 - <<'PYTHON'
import sqlite3

store = sqlite3.connect("list.db")
states = ["succeeded"] * 9 + ["failed"]
runs = (
    (f"{number:09d}", 1, f"p{number % 50}", "p.yaml", "schedule", states[number % 10], "host", 1_700_000_000_000 + number * 1000, 1_700_000_000_500 + number * 1000)
    for number in range(1_000_000)
)
store.executemany(
    "INSERT INTO runs (id, attempt, pipeline, file, cause, state, host, started_at, finished_at, params, sources) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', '[]')",
    runs,
)
store.commit()
PYTHON
list() {
    python3 - "$takt" "$@" <<'PYTHON'
import os
import subprocess
import sys
import time

seconds = []
for _ in range(9):
    began = time.perf_counter()
    subprocess.run([sys.argv[1], "runs", "list", *sys.argv[2:]], env={**os.environ, "TAKT_STORE": "list.db"}, stdout=subprocess.DEVNULL, check=True)
    seconds.append(time.perf_counter() - began)
print(f"a million runs: `takt runs list {' '.join(sys.argv[2:])}` {sorted(seconds)[4] * 1000:.0f} ms")
PYTHON
}
list
list --pipeline p7
list --state failed

TAKT_STORE=list.db "$takt" worker --listen 127.0.0.1:9464 2>/dev/null &
process=$!
sleep 2
python3 - <<'PYTHON'
import time
import urllib.request

seconds = []
for _ in range(9):
    began = time.perf_counter()
    urllib.request.urlopen("http://127.0.0.1:9464/metrics").read()
    seconds.append(time.perf_counter() - began)
print(f"a million runs: /metrics {sorted(seconds)[4] * 1000:.0f} ms")
PYTHON
kill "$process" && wait "$process" || true
