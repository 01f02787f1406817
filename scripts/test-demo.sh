#!/usr/bin/env bash
# The demo on the first seconds of the clip, in both languages and in processes: all must find the same people.
set -euo pipefail
cd "$(dirname "$0")/.."
export VIRTUAL_ENV="$PWD/.venv"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
printf -- '--- in Rust\n'
target/release/deeppipeline behaviour clips/park.mp4 --limit 60 --output "$out/rust" --compare-serial
printf -- '--- in Rust, each stage in a process\n'
target/release/deeppipeline behaviour clips/park.mp4 --limit 60 --output "$out/processes" --multiprocess
printf -- '--- in Python\n'
.venv/bin/python examples/python/behaviour.py clips/park.mp4 --limit 60 --output "$out/python" 2>"$out/errors" || { cat "$out/errors" >&2; exit 1; }
for run in rust processes python; do
    frames=$(ffmpeg -nostdin -hide_banner -i "$out/$run/park.behaviour.mp4" -f null - 2>&1 | sed -n 's/.*frame= *\([0-9]*\).*/\1/p' | tail -n 1)
    [ "$frames" = 60 ] || { echo "error: the video of the run $run has $frames frames, not 60" >&2; exit 1; }
done
cmp "$out/rust/park.behaviour.jsonl" "$out/processes/park.behaviour.jsonl"
cmp "$out/rust/park.behaviour.jsonl" "$out/python/park.behaviour.jsonl"
grep -q '"track"' "$out/rust/park.behaviour.jsonl"
