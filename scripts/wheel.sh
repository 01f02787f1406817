#!/usr/bin/env bash
# Builds the Python wheel into target/wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
scripts/prepare.sh wheel
rm -f target/wheels/deeppipeline-*.whl
printf '==> building the Python wheel\n'
.venv/bin/maturin build --release --locked --quiet --manifest-path python/Cargo.toml --out target/wheels
