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

# A web service under load and the recipes take a while, and do not depend on the version.
once=()
for version in $(printf '%s\n' "${!found[@]}" | sort -V); do
    environment=target/pytest-$version
    printf -- '--- Python %s\n' "$version"
    [ -x "$environment/bin/pytest" ] || {
        "${found[$version]}" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/requirements-pytest.txt
    }
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
    (cd python && "../$environment/bin/python" -m pytest -q "${once[@]}")
    once=(--ignore tests/test_service.py --ignore tests/test_recipes.py)
done

printf -- '--- types\n'
.venv/bin/python -m pip install --quiet --disable-pip-version-check pytest nbclient
.venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
(cd python && ../.venv/bin/mypy)
(cd python && ../.venv/bin/pyright --pythonpath ../.venv/bin/python)
