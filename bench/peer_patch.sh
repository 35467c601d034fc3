#!/bin/sh
# Change a private copy of llama.cpp's source, for bench/peers.sh. Where the source is not the one that
# was read when this was written, nothing is built of it.
#
#   bench/peer_patch.sh exact|amx FOLDER
#
#   exact   no float16 tables of GELU, and the angles of RoPE in double (it multiplies them up in float32,
#           which alone moves logits of a Gemma by 0.001)
#   amx     gcc 12's _tile_loadconfig is told to read 8 of its 64 bytes, so that the stores into the
#           others are dropped and the first tile product faults: a barrier keeps them
set -eu

case ${1:-} in -h | --help)
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '$d'
    exit ;;
esac

cpu=$2/ggml/src/ggml-cpu

expect() { # expect N TEXT FILE: it stands there so often
    [ "$(grep -cF -- "$2" "$3")" -eq "$1" ] || {
        echo "peer_patch: $3 is not the source that was read: $1 lines with \"$2\" expected" >&2
        exit 1
    }
}

case $1 in
exact)
    sed -i 's,^#define GGML_GELU_\(QUICK_\)\?FP16,//&,' "$cpu/vec.h"
    sed -i -e '/^static void rope_yarn(/,/^static void ggml_mrope_cache_init/ {
        s/float theta/double theta/g
        s/cosf(theta)/cos(theta)/
        s/sinf(theta)/sin(theta)/
        s/double theta_base,/float theta_base,/
    }' -e 's/const float theta_scale = powf(freq_base, -2.0f/const double theta_scale = pow(freq_base, -2.0/' \
        "$cpu/ops.cpp"
    expect 6 'double theta' "$cpu/ops.cpp"
    ;;
amx)
    expect 1 '    _tile_loadconfig(&tc);' "$cpu/amx/mmq.cpp"
    sed -i 's/^    _tile_loadconfig(&tc);/    __asm__ volatile("" : : "r"(\&tc) : "memory");\n&/' "$cpu/amx/mmq.cpp"
    expect 1 '"r"(&tc)' "$cpu/amx/mmq.cpp"
    ;;
*)
    echo "usage: bench/peer_patch.sh exact|amx FOLDER" >&2
    exit 2
    ;;
esac
