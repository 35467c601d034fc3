# Sourced by the scripts here and in bench/: $cache, and what lives in it.
cache=${GAUFRE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gaufre-test}
golden_dir=${golden_dir:-$here}
mkdir -p "$cache"

# A virtual environment with the pinned packages, made once for each version of requirements.txt.
golden_venv() {
    if ! cmp -s "$golden_dir/requirements.txt" "$cache/venv/requirements.txt"; then
        python3 -m venv "$cache/venv" >&2
        "$cache/venv/bin/python" -m pip install -q --disable-pip-version-check \
            -r "$golden_dir/requirements.txt" >&2
        cp "$golden_dir/requirements.txt" "$cache/venv/requirements.txt"
    fi
}

# The driver of the peer's forward pass.
golden_peer_eval() {
    peers=$cache/peers
    include=$(echo "$peers"/src/llama_cpp_python-*/vendor/llama.cpp)
    if [ ! -x "$cache/peer_eval" ] || [ "$golden_dir/peer_eval.c" -nt "$cache/peer_eval" ]; then
        cc -O2 -Wall "$golden_dir/peer_eval.c" -o "$cache/peer_eval" -I"$include/include" \
            -I"$include/ggml/include" -L"$peers/llama-exact/bin" -L"$peers/llama/bin" \
            -Wl,-rpath-link,"$peers/llama-exact/bin" -lllama -lggml -lggml-base
    fi
}
