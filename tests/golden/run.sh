#!/bin/sh
# run.sh TEST_GOLDEN: makes the tiny models, then runs the test on them; called by `meson test golden`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
if ! golden_venv; then
    echo "1..0 # SKIP no Python environment with gguf and numpy (python3-venv, network)"
    exit 0
fi
"$cache/venv/bin/python" "$here/make_tiny.py" "$cache/tiny"
exec "$1" "$here/data" "$cache/tiny"
