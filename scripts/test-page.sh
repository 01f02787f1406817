#!/usr/bin/env bash
# Tests the dashboard's page, and the timeline in Perfetto, in a real browser, which it installs where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x /usr/bin/chromium ]; then
    printf '==> installing chromium\n'
    command -v apt-get >/dev/null || { echo "error: please install chromium: only Debian's and Ubuntu's apt-get is known here" >&2; exit 1; }
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check pytest pytest-timeout playwright==1.65.2 viztracer==1.1.1
# With the wheel that the tests before have installed.
cd python/browser && exec ../../.venv/bin/python -m pytest -q --rootdir=. -p no:cacheprovider --timeout=120
