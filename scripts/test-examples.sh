#!/usr/bin/env bash
# Runs every example in both languages: each must succeed, and both must print the same.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --quiet --examples -p examples
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
for rust in examples/rust/*.rs; do
    name=$(basename "$rust" .rs)
    in_rust=$(target/debug/examples/"$name" 2>"$errors") || { cat "$errors" >&2; exit 1; }
    in_python=$(.venv/bin/python -W error "examples/python/$name.py" 2>"$errors") || { cat "$errors" >&2; exit 1; }
    [ -n "$in_rust" ] || { echo "error: $name prints nothing" >&2; exit 1; }
    if [ "$name" = seed_program ]; then
        # Its sleeps are real, so which samples are dropped depends on the machine; the last three never are.
        in_rust=$(tail -n 1 <<<"$in_rust") in_python=$(tail -n 1 <<<"$in_python")
    fi
    if [ "$in_rust" != "$in_python" ]; then
        printf 'error: %s prints in Rust\n%s\nand in Python\n%s\n' "$name" "$in_rust" "$in_python" >&2
        exit 1
    fi
    echo "ok $name"
done
