#!/bin/sh
# make bench: gaufre beside llama.cpp and ik_llama.cpp, on this machine, in interleaved rounds.
#
#   bench/run.sh [--quick] [--only WORKLOADS] [--models NAMES] [--peers llama,ik|none] [--list] [OPTIONS OF suite.py]
#   make bench QUICK=1 ONLY=decode,batch MODELS=smollm2-135m PEERS=llama PAIRS=5 THREADS=2
#
# Full: every workload, between one and two hours once peers and models are built. Quick: a few minutes on SmolLM2, with the
# peers that are built already, or llama.cpp. Single parts: --only decode,batch --models smollm2-135m.
#
#   models   catalogue names, names of bench/make_model.py, or files; "all": every one of these. Default: both real
#            models, Llama 3.2 1B's shapes in three formats, Qwen3 1.7B's in one, and the small mixture of experts
#   peers    what bench/peers.sh builds; the first time llama.cpp takes a quarter of an hour, ik_llama.cpp more
#            than half an hour on two cores. Folders of your own: LLAMA_DIR, LLAMA_AMX_DIR, IK_DIR
#   results  build/bench (--out): summary.md, results.csv, limits.csv, results.json, SVG plots
#
# Needs python3 and, the first time, the Python package index. docs/performance.md says how to read the figures.
set -eu
cd "$(dirname "$0")/.."
here=$PWD/bench
golden_dir=$PWD/tests/golden
. "$golden_dir/env.sh"

avx2= quick=${QUICK:-} only=${ONLY:-} models=${MODELS:-} peers=${PEERS:-}
gaufre=${GAUFRE:-build/release/src/cmd/gaufre}
made="llama3.2-1b-q4_0 llama3.2-1b-q4_k_m llama3.2-1b-q8_0 qwen3-1.7b-q4_k_m gpt-oss-mini-mxfp4"
others="qwen3-1.7b-q4_0 qwen3-1.7b-q8_0"

usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '$d'; }
value() { [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }; }

rest=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    --only) value "$@"; only=$2; shift ;;
    --models) value "$@"; models=$2; shift ;;
    --peers) value "$@"; peers=$2; shift ;;
    --gaufre) value "$@"; gaufre=$2; shift ;;
    --list) echo "smollm2-135m gemma3-270m $made $others" | tr ' ' '\n'; exit ;;
    -h | --help) usage; exit ;;
    *) rest="$rest $1" ;;
    esac
    shift
done
[ "$quick" != 0 ] || quick=
[ -x "$gaufre" ] || { echo "bench: $gaufre is not built (make)" >&2; exit 1; }

say() { echo "bench: $*" >&2; }

# ---- peers: folders given, or built
peers_dir=$cache/peers
[ -n "$peers" ] || { peers=llama,ik; [ -z "$quick" ] || [ -x "$peers_dir/ik/bin/llama-bench" ] || peers=llama; }
llama=${LLAMA_DIR:-} amx=${LLAMA_AMX_DIR:-} ik=${IK_DIR:-}
built() { # built VARIANT TOOL... : its folder, if all are there; another build may hold the lock for long
    folder=$peers_dir/$1
    shift
    for tool in "$@"; do [ -e "$folder/bin/$tool" ] || return 1; done
    echo "$folder"
}
case ,$peers, in *,llama,*)
    if [ -z "$llama" ]; then
        llama=$(built llama llama-bench llama-batched-bench llama-server llama-quantize) ||
            { bench/peers.sh llama llama-server >&2 && llama=$peers_dir/llama; } || llama=
        if [ -n "$llama" ] && grep -q amx_int8 /proc/cpuinfo; then
            # Without a source of its own it is an older build, which crashes.
            amx=$([ -d "$peers_dir/src/llama-amx" ] && built llama-amx libggml-cpu.so) ||
                { bench/peers.sh llama-amx >&2 && amx=$peers_dir/llama-amx; } || amx=
        fi
    fi ;;
esac
case ,$peers, in *,ik,*)
    [ -n "$ik" ] || ik=$(built ik llama-bench llama-batched-bench llama-server) ||
        { bench/peers.sh ik >&2 && ik=$peers_dir/ik; } || ik= ;;
esac
case ${quick:-,$only,} in ,, | *,avx2,*) # built where it will be measured
    for peer in llama ik; do
        case ,$peers, in *,$peer,*)
            built $peer-avx2 libggml.so >/dev/null || bench/peers.sh $peer-avx2 >&2 || continue
            avx2="$avx2 --$peer-avx2 $peers_dir/$peer-avx2" ;;
        esac
    done ;;
esac
[ -n "$llama" ] || say "llama.cpp is not measured"
[ -n "$ik" ] || say "ik_llama.cpp is not measured (--peers llama,ik builds it)"

# ---- models
home=${GAUFRE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/gaufre}
if [ -z "$models" ]; then
    models=smollm2-135m
    [ -n "$quick" ] || models="smollm2-135m gemma3-270m $made"
elif [ "$models" = all ]; then
    models="smollm2-135m gemma3-270m $made $others"
fi

pull() {
    "$gaufre" pull -q "$1" >&2 && echo "$home/models/$1.gguf"
}

make_one() { # the vocabulary is SmolLM2's
    vocab=$(pull smollm2-135m) || return 1
    [ -z "$llama" ] || quantize="--quantize $llama/bin/llama-quantize"
    golden_venv
    LD_LIBRARY_PATH=$llama/bin "$cache/venv/bin/python" -B bench/make_model.py "$1" --vocab "$vocab" \
        --out "$cache/bench" --keep ${quantize:-}
}

files= made_one=
for model in $(echo "$models" | tr ',' ' '); do
    if [ -f "$model" ]; then
        files="$files $model"
    elif [ -f "$cache/bench/$model.gguf" ]; then
        files="$files $cache/bench/$model.gguf"
    elif echo " $made $others " | grep -q " $model "; then
        made_one=1
        file=$(make_one "$model") && files="$files $file" || say "$model cannot be made: left out"
    else
        file=$(pull "$model") && files="$files $file" || say "$model cannot be fetched: left out"
    fi
done
[ -z "$made_one" ] || rm -f "$cache"/bench/*-f16.gguf # what the other formats were made of
[ -n "$files" ] || { say "no model"; exit 1; }

exec python3 -B bench/suite.py --gaufre "$gaufre" ${quick:+--quick} ${only:+--only "$only"} \
    ${llama:+--llama "$llama"} ${amx:+--llama-amx "$amx"} ${ik:+--ik "$ik"} $avx2 ${PAIRS:+--pairs "$PAIRS"} \
    ${THREADS:+--threads "$THREADS"} ${OUT:+--out "$OUT"} $rest $files
