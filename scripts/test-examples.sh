#!/usr/bin/env bash
# Runs every example in both languages: each must succeed, and both must print the same.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
cargo build --locked --quiet --examples -p examples
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# The demo in Python has a test of its own, and the command line is its twin in Rust.
in_folder() { find "examples/$1" -maxdepth 1 -name "*.$2" ! -name behaviour.py -printf '%f\n' | sed "s/\.$2\$//" | sort; }
twinless=$(comm -3 <(in_folder rust rs) <(in_folder python py))

for name in $(comm -12 <(in_folder rust rs) <(in_folder python py)); do
    in_rust=$(target/debug/examples/"$name" 2>"$errors") || { cat "$errors" >&2; exit 1; }
    in_python=$("$python" -W error "examples/python/$name.py" 2>"$errors") || { cat "$errors" >&2; exit 1; }
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
cargo test --locked --quiet --doc -p examples
echo "ok recipes in Rust"
cargo test --locked --quiet -p service
echo "ok web service in Rust"
[ -z "$twinless" ] || { printf 'error: examples in one language only:\n%s\n' "$twinless" >&2; exit 1; }
