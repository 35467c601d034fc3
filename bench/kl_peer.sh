#!/bin/sh
# What quantised arithmetic costs in quality, ours beside the peer's: KL divergence to the same model in
# float32 on the same windows of real text.
#
#   bench/kl_peer.sh MODEL.gguf [GAUFRE-BINARY]      environment: TEXT (a file; default: the texts of
#                                                    tests/golden, 3,000 to 4,000 tokens), CONTEXT (512)
#
# 1. reference: llama.cpp's forward pass in float32 on a float32 rewrite of the file (as for the goldens, but with
#    this CPU's vector units), stored as a logits file in the cache: minutes and 2 GB the first time;
# 2. the peer: llama.cpp on the file itself, f16 KV, as built for this CPU; without flash attention, which
#    is its more precise path;
# 3. ours: gaufre perplexity --kl on the file itself, with f16 and with q8_0 KV, where a binary is given.
# Prints one JSON object a line: who, positions, kl_mean, kl_p99, kl_max, top1_agreement.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
golden_dir=$here/../tests/golden
. "$golden_dir/env.sh"
"$here/peers.sh" llama llama-exact llama-f32 >/dev/null
golden_venv
golden_peer_eval
exec "$cache/venv/bin/python" -B "$here/kl_peer.py" "$cache" "$@"
