#!/usr/bin/env bash
# Everything that CI runs, from formatting to the demo on a few seconds of the clip.
set -euo pipefail
cd "$(dirname "$0")/.."
# Tests send themselves signals that `nohup` and background jobs have ignored, and an ignored one stays ignored.
[ -n "${SIGNALS_ARE_DEFAULT:-}" ] || SIGNALS_ARE_DEFAULT=1 exec env --default-signal scripts/test.sh
scripts/prepare.sh test
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" VIRTUAL_ENV="$PWD/.venv"
# The environment above has an onnxruntime, so a test that does not find it is a failure and not a skip.
export DEEPPIPELINE_REQUIRE_ONNXRUNTIME=1
# The binding is an extension module: it has no interpreter to link against.
export PYO3_BUILD_EXTENSION_MODULE=1

step() { printf '\n==> %s (%s)\n' "$1" "$(date +%T)"; shift; "$@"; }

step "formatting, Rust" cargo fmt --all --check
step "formatting, Python" .venv/bin/ruff format --check python examples/python benchmarks
step "lints, Rust" cargo clippy --locked --release --workspace --all-targets --all-features -- -D warnings
step "lints, Python" .venv/bin/ruff check python examples/python benchmarks
step "docs" env RUSTDOCFLAGS=-Dwarnings cargo doc --locked --release --no-deps --all-features
step "docs, default features" env RUSTDOCFLAGS=-Dwarnings cargo doc --locked --release --no-deps -p deeppipeline
step "engine tests" cargo test --locked -p deeppipeline --all-features
step "monitor tests" cargo test --locked -p deeppipeline-monitor
step "vision and command-line tests" cargo test --locked --release -p deeppipeline-vision -p deeppipeline-cli
step "wheel" scripts/wheel.sh
step "Python tests" scripts/test-python.sh
step "the dashboard's page in a browser" scripts/test-page.sh
step "examples" scripts/test-examples.sh
step "demo" scripts/test-demo.sh
printf '\n==> all passed (%s)\n' "$(date +%T)"
