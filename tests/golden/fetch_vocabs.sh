#!/bin/sh
# Fetch the vocabularies and reference tokenizers of the tokenizer test into
# $GAUFRE_TEST_CACHE/vocabs (default ~/.cache/gaufre-test/vocabs) and print that folder. Nothing of it is
# committed. A second run only prints. What cannot be had is named on stderr, and the test skips it;
# exit 1 only when nothing at all could be had.
#
#   ggml-vocab-*.gguf, .inp, .out   PyPI sdist llama-cpp-python: real vocabularies, texts, expected ids
#   templates/*.jinja               the same: chat templates of many families
#   tekken.json                     PyPI wheel mistral-common
#   o200k_base.js                   npm js-tiktoken
#   venv/                           PyPI tokenizers, sentencepiece, tiktoken: the references
set -eu

LLAMA_VERSION=0.3.36
LLAMA_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
MISTRAL_VERSION=1.13.1
JS_TIKTOKEN_VERSION=1.0.21
REFERENCES="tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2 tiktoken==0.14.0"

cache=${GAUFRE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gaufre-test}
dir=$cache/vocabs
mkdir -p "$dir"
tmp=$(mktemp -d "$dir/.fetch-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
log=$dir/fetch.log

say() { echo "fetch_vocabs: $*" >&2; }

venv() {
    [ "$(cat "$dir/venv/made" 2>/dev/null)" = "$REFERENCES" ] && return
    python3 -m venv "$dir/venv" >>"$log" 2>&1 || return 1
    # shellcheck disable=SC2086 # a list of packages
    "$dir/venv/bin/python" -m pip install -q --disable-pip-version-check $REFERENCES >>"$log" 2>&1 ||
        return 1
    echo "$REFERENCES" >"$dir/venv/made"
}

pip_download() { # pip_download PACKAGE==VERSION OPTION...
    "$dir/venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps -d "$tmp" "$@" \
        >>"$log" 2>&1
}

llama_vocabs() {
    [ -f "$dir/llama-$LLAMA_VERSION" ] && [ -d "$dir/templates" ] && return
    name=llama_cpp_python-$LLAMA_VERSION
    tar=$cache/peers/src/$name.tar.gz # the bench may have fetched it already
    if [ ! -f "$tar" ]; then
        tar=$tmp/$name.tar.gz
        pip_download "llama-cpp-python==$LLAMA_VERSION" --no-binary llama-cpp-python || return 1
    fi
    echo "$LLAMA_SHA256  $tar" | sha256sum -c --quiet - >&2 || return 1
    models=$name/vendor/llama.cpp/models
    tar xzf "$tar" -C "$tmp" --wildcards "$models/ggml-vocab-*" "$models/templates/*" || return 1
    mv "$tmp/$models/"ggml-vocab-* "$dir"
    rm -rf "$dir/templates"
    mv "$tmp/$models/templates" "$dir"
    touch "$dir/llama-$LLAMA_VERSION"
}

tekken() {
    [ -f "$dir/tekken.json" ] && return
    pip_download "mistral-common==$MISTRAL_VERSION" || return 1
    python3 - "$tmp/mistral_common-$MISTRAL_VERSION-py3-none-any.whl" >"$tmp/tekken.json" <<'PY'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open("mistral_common/data/tekken_240911.json") as f:
    shutil.copyfileobj(f, sys.stdout.buffer)
PY
    mv "$tmp/tekken.json" "$dir/tekken.json"
}

o200k() {
    [ -f "$dir/o200k_base.js" ] && return
    command -v npm >/dev/null || return 1
    (cd "$tmp" && npm pack --silent "js-tiktoken@$JS_TIKTOKEN_VERSION") >>"$log" 2>&1 || return 1
    tar xzf "$tmp/js-tiktoken-$JS_TIKTOKEN_VERSION.tgz" -C "$tmp" || return 1
    mv "$tmp/package/dist/ranks/o200k_base.js" "$dir/o200k_base.js"
}

venv || say "no reference tokenizers from PyPI (see $log)"
llama_vocabs || say "no llama-cpp-python $LLAMA_VERSION from PyPI (see $log)"
tekken || say "no mistral-common $MISTRAL_VERSION from PyPI (see $log)"
o200k || say "no js-tiktoken $JS_TIKTOKEN_VERSION from npm (see $log)"
echo "$dir"
[ -f "$dir/venv/made" ] || [ -f "$dir/llama-$LLAMA_VERSION" ]
