#!/bin/sh
# Regenerate the goldens in tests/golden/data from a forward pass that is not ours (README.md):
#   tests/golden/make_golden.sh [NAME...]
# Needs the Debian packages of bench/peers.sh (cmake, g++, python3-venv) and, for the two real models, their
# GGUF files: $GOLDEN_MODELS/smollm2-135m.gguf and gemma3-270m.gguf. Everything is cached in
# $GAUFRE_TEST_CACHE (default ~/.cache/gaufre-test); a second run only computes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
"$here/../../bench/peers.sh" llama-exact >/dev/null
golden_venv
golden_peer_eval
LD_LIBRARY_PATH=$cache/peers/llama-exact/bin:$cache/peers/llama/bin \
    "$cache/venv/bin/python" "$here/make_golden.py" "$cache" "$@"
