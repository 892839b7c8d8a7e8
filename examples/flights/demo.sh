#!/bin/sh
# What `make demo` shows: the year, what there is afterwards, and that a second run has nothing to do.
set -eu
cd "$(dirname "$0")"

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { say "$@"; "$@"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n$ %s\n' "$*"; }

run partita materialize
run partita status
run partita lineage
run python show_results.py
run partita plan

cat <<EOF

The files, all in $(pwd):
  flights.duckdb   every table but the hourly weather
  lake/            the hourly weather, one Parquet file per hour
  .partita/        what Partita knows: state, logs of the runs
Go on with: . .venv/bin/activate; cd examples/flights; partita materialize
EOF
