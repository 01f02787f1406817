#!/usr/bin/env bash
# Measures the numbers of docs/benchmarks.md; the raw results go into docs/benchmarks/. Wants a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prepare.sh test
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" VIRTUAL_ENV="$PWD/.venv"
raw=docs/benchmarks
mkdir -p "$raw"

machine() {
    printf 'machine: %s cores of %s, %s, Linux %s, load %s\n' "$(nproc)" \
        "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(rustc --version | cut -d' ' -f1,2)" \
        "$(uname -r | cut -d- -f1)" "$(cut -d' ' -f1-3 /proc/loadavg)"
}

printf '==> building\n'
cargo bench --locked --quiet -p deeppipeline --features processes --no-run
cargo build --release --locked --quiet -p deeppipeline-cli
scripts/wheel.sh
.venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/deeppipeline-*.whl

printf '==> engine: hops, wake-ups, drops, overlap, idle\n'
{ machine; cargo bench --locked --quiet -p deeppipeline; } 2>&1 | tee "$raw/engine.txt"
printf '==> several workers, order, joins, ages, overload\n'
{ machine; cargo bench --locked --quiet -p deeppipeline --features processes --bench contract; } 2>&1 | tee "$raw/contract.txt"
printf '==> four Python stages against queues\n'
{ machine; .venv/bin/python benchmarks/python_chain.py; } 2>&1 | tee "$raw/python.txt"
printf '==> hops between processes, in Python and in Rust, against rivals\n'
.venv/bin/python -m pip install --quiet --disable-pip-version-check PyParallelPipe==1.0.2
process_hop=$(find target/release/deps -name 'process_hop-*' -executable -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
{ machine; .venv/bin/python benchmarks/processes.py --rust "$process_hop" ${PEERS:+--peers "$PEERS"}; } 2>&1 | tee "$raw/processes.txt"
printf '==> the demo, three times, each time beside the same stages in series\n'
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
{
    machine
    for _ in 1 2 3; do
        target/release/deeppipeline behaviour clips/park.mp4 --output "$out" --compare-serial 2>/dev/null | grep -v '^wrote'
        echo
    done
} | tee "$raw/demo.txt"
