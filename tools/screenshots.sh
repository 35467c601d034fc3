#!/bin/sh
# make screenshots: docs/page-*.png and console-*.png, from the built server with the default model in Chromium.
set -eu
cd "$(dirname "$0")/.."
gaufre=build/release/src/cmd/gaufre
"$gaufre" pull -q smollm2-135m
if ! cmp -s tests/requirements.txt build/venv/requirements.txt; then
    rm -rf build/venv
    python3 -m venv build/venv
    build/venv/bin/python -m pip install -q -r tests/requirements.txt
    cp tests/requirements.txt build/venv/requirements.txt
fi
GAUFRE_BIN=$PWD/$gaufre exec build/venv/bin/python tools/screenshots.py "$@"
