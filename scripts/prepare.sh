#!/usr/bin/env bash
# Finds or installs what a command needs: prepare.sh demo|test|wheel. Prints only what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
for_what=${1:?demo, wheel or test}
wanted_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

# rustup puts cargo here, and a shell that is already open does not know it yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
command -v cargo >/dev/null || fail "no Rust found: install Rust $wanted_rust or newer from https://rustup.rs, then run this again"
rust=$(rustc --version | sed -E 's/^rustc ([0-9.]+).*/\1/')
at_least "$wanted_rust" "$rust" ||
    fail "Rust $rust is too old, $wanted_rust or newer is wanted: run 'rustup update stable' (or install rustup from https://rustup.rs)"

# Debian packages that are missing, installed in one go.
packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v python3 >/dev/null || packages+=(python3)
command -v ffmpeg >/dev/null || packages+=(ffmpeg)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    say "installing ${packages[*]}"
    command -v apt-get >/dev/null || fail "please install ${packages[*]}: only Debian's and Ubuntu's apt-get is known here"
    sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "please install ${packages[*]} as root, or install sudo"
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

# The demo only wants what PyPI brings; building and testing the package wants an interpreter that it supports.
python=python3
if [ "$for_what" != demo ]; then
    supported='import sys; sys.exit(sys.version_info < (3, 11))'
    python=
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        "$candidate" -c "$supported" 2>/dev/null && python=$candidate && break
    done
    [ -n "$python" ] || fail "no Python 3.11 or newer found ($(python3 --version)): install one beside it, for example python3.11"
    if [ -x .venv/bin/python ] && ! .venv/bin/python -c "$supported"; then
        rm -rf .venv
    fi
fi

# A Python environment for what comes from PyPI.
requirements=scripts/requirements-$for_what.txt
stamp=.venv/installed-$for_what-$(cat scripts/requirements-*.txt | cksum | cut -d' ' -f1)
if [ ! -e "$stamp" ]; then
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    say "installing $(grep -c '^[a-z]' "$requirements") Python packages into .venv"
    if .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"; then
        touch "$stamp"
    elif [ "$for_what" = demo ]; then
        say "no onnxruntime to be had: the models run in pure Rust, which is slower and takes longer to build"
    else
        fail "these Python packages could not be installed: $(tr '\n' ' ' <"$requirements")"
    fi
fi
