#!/usr/bin/env bash
# The demo on the first seconds of the clip, in both languages: both must find the same people.
set -euo pipefail
cd "$(dirname "$0")/.."
export VIRTUAL_ENV="$PWD/.venv"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
printf -- '--- in Rust\n'
target/release/deeppipeline behaviour clips/park.mp4 --limit 60 --output "$out/rust" --compare-serial
printf -- '--- in Python\n'
.venv/bin/python examples/python/behaviour.py clips/park.mp4 --limit 60 --output "$out/python" 2>"$out/errors" || { cat "$out/errors" >&2; exit 1; }
for language in rust python; do
    frames=$(ffmpeg -nostdin -hide_banner -i "$out/$language/park.behaviour.mp4" -f null - 2>&1 | sed -n 's/.*frame= *\([0-9]*\).*/\1/p' | tail -n 1)
    [ "$frames" = 60 ] || { echo "error: the video written in $language has $frames frames, not 60" >&2; exit 1; }
done
cmp "$out/rust/park.behaviour.jsonl" "$out/python/park.behaviour.jsonl"
grep -q '"track"' "$out/rust/park.behaviour.jsonl"
