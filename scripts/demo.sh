#!/usr/bin/env bash
# Builds and runs the behaviour pipeline: demo.sh rust|python [INPUT] [OPTIONS].
set -euo pipefail
cd "$(dirname "$0")/.."
language=${1:?rust or python}
shift
if [ "$language" = python ]; then scripts/prepare.sh wheel; else scripts/prepare.sh demo; fi
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" VIRTUAL_ENV="$PWD/.venv"
[ $# -gt 0 ] && [[ "$1" != -* ]] || set -- clips/park.mp4 "$@"
case $language in
rust)
    runtime=()
    if compgen -G '.venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so*' >/dev/null; then
        runtime=(--no-default-features --features onnxruntime) # without the pure-Rust runtime, it builds much faster
    fi
    printf '==> building (the first time takes some minutes)\n'
    cargo build --release --locked --quiet -p deeppipeline-cli "${runtime[@]}"
    exec target/release/deeppipeline behaviour "$@" --compare-serial
    ;;
python)
    scripts/wheel.sh
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/deeppipeline-*.whl
    exec .venv/bin/python examples/python/behaviour.py "$@"
    ;;
esac
