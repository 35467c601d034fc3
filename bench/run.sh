#!/bin/sh
# make bench: speed beside llama.cpp in interleaved pairs, and quality beside it, on both real models.
#
#   PAIRS=5        pairs of each comparison            THREADS=N    both sides (default: all CPUs)
#   MODELS="..."   other GGUF files                    KL=0         leave the quality part out
#
# Needs the package index (for the peer's source, once: building it takes many minutes) or a folder with
# bin/llama-bench in LLAMA_DIR. Without either only gaufre is measured, beside the machine's limits.
# docs/performance.md says how to read the figures.
set -eu
cd "$(dirname "$0")/.."
gaufre=${GAUFRE:-build/release/src/cmd/gaufre}
threads=${THREADS:-$(nproc)}
home=${GAUFRE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/gaufre}

if [ -z "${MODELS:-}" ]; then
    "$gaufre" pull -q smollm2-135m gemma3-270m >&2
    MODELS="$home/models/smollm2-135m.gguf $home/models/gemma3-270m.gguf"
fi

if [ -z "${LLAMA_DIR:-}" ]; then
    LLAMA_DIR=$(bench/peers.sh llama | awk '$1 == "llama" { print $2 }') || LLAMA_DIR=
fi
for model in $MODELS; do
    "$gaufre" bench "$model" --threads "$threads" --prefill 128,512 --decode 64 --batch 1,4,16
    echo
done
if [ -n "$LLAMA_DIR" ]; then
    python3 bench/compare.py --gaufre "$gaufre" --peer "$LLAMA_DIR" --threads "$threads" \
        --pairs "${PAIRS:-5}" --csv bench/results.csv $MODELS
else
    echo "bench: no llama.cpp to compare with" >&2
fi
if [ "${KL:-1}" != 0 ] && [ -n "$LLAMA_DIR" ]; then
    echo
    for model in $MODELS; do
        bench/kl_peer.sh "$model" "$gaufre"
    done
fi
