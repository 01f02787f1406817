#!/usr/bin/env bash
# Runs the Python tests against the built wheel on every interpreter at hand from 3.11 on, and the type checkers.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$(ls target/wheels/deeppipeline-*.whl)

# Interpreters on PATH and those that pyenv keeps, one per version.
candidates=(python3 python3.11 python3.12 python3.13 python3.14 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3)
declare -A found=()
for candidate in "${candidates[@]}"; do
    version=$("$candidate" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2] if sys.version_info >= (3, 11) else "")' 2>/dev/null) || continue
    [ -n "$version" ] && [ -z "${found[$version]:-}" ] && found[$version]=$candidate
done
[ ${#found[@]} -gt 0 ] || { echo "error: no Python 3.11 or newer found" >&2; exit 1; }

# The versions are tested side by side: most of a test is a wait for processes to start. A web service under load and the
# recipes take a while, and do not depend on the version.
test_on() {
    version=$1; shift
    environment=target/pytest-$version
    [ -x "$environment/bin/pytest" ] || "${found[$version]}" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/requirements-pytest.txt
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
    # What runs in the background has SIGINT ignored, and tests send it to themselves.
    cd python && exec env --default-signal "../$environment/bin/python" -m pytest -q "$@"
}
# Without a job `kill` fails, and the script with it.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
declare -A running=()
once=()
for version in $(printf '%s\n' "${!found[@]}" | sort -V); do
    printf -- '--- Python %s: target/pytest-%s.log\n' "$version" "$version"
    test_on "$version" "${once[@]}" >"target/pytest-$version.log" 2>&1 &
    running[$version]=$!
    once=(--ignore tests/test_service.py --ignore tests/test_recipes.py)
done
failed=0
for version in $(printf '%s\n' "${!running[@]}" | sort -V); do
    wait "${running[$version]}" || failed=1
    printf -- '--- Python %s\n' "$version"
    cat "target/pytest-$version.log"
done
[ "$failed" = 0 ] || { echo "error: Python tests have failed" >&2; exit 1; }

printf -- '--- types\n'
.venv/bin/python -m pip install --quiet --disable-pip-version-check pytest nbclient
.venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
(cd python && ../.venv/bin/mypy)
(cd python && ../.venv/bin/pyright --pythonpath ../.venv/bin/python)
