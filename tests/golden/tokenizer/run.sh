#!/bin/sh
# run.sh VOCAB_IDS: fetch what the tokenizer test compares with, then run it (TAP).
here=$(cd "$(dirname "$0")" && pwd)
vocabs=$("$here/../fetch_vocabs.sh") || {
    echo "1..0 # SKIP no package index to fetch reference vocabularies from"
    exit 0
}
python=$vocabs/venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -B "$here/test_tokenizer.py" "$1" "$vocabs" "${GOLDEN_MODELS:-}"
