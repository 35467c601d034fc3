#!/bin/bash
# Run the tests: tools/test.sh quick|full|asan|tsan|fuzz|soak
#
#   quick  release build by gcc, the suites marked quick
#   full   everything: gcc and clang builds with warnings as errors, all suites by gcc and the quick
#          ones by clang, end to end with the real clients and the page in a browser,
#          address+undefined and thread sanitizers, fuzz corpora as plain tests
#   asan, tsan  that sanitizer's build and its tests
#   soak   the server killed $KILLS times under load, and in streams (1,000: hours), then $SEEDS simulated worlds
#   fuzz   libFuzzer on every target for $FUZZ_SECONDS each, corpora not changed
#
# Ends with "N passed, M failed" (", K skipped") and exits 0 only when nothing failed. What each step
# printed is kept in build/test/.
set -u
cd "$(dirname "$0")/.." || exit 1
tier=${1:-quick}
out=$PWD/build/test
cores=$(nproc)
cache=${GAUFRE_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gaufre-test}
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
exec </dev/null

say() { printf '%s\n' "$*"; }

# step NAME COMMAND...: run it, keep its output, remember whether it worked.
step() {
    local name=$1 log began=$SECONDS
    shift
    log=$out/${name// /-}.log
    if "$@" >"$log" 2>&1; then
        echo "ok $name" >>"$out/steps.txt"
        say "  ok      $name ($((SECONDS - began)) s)"
        return 0
    fi
    echo "not ok $name" >>"$out/steps.txt"
    say "  FAILED  $name ($((SECONDS - began)) s): $log"
    tail -n 40 "$log" | sed 's/^/          /'
    return 1
}

# build DIR COMPILER [meson options]: configured once, then only what changed.
build() {
    local dir=build/$1 cc=$2
    shift 2
    [ -f "$dir/build.ninja" ] || CC=$cc meson setup "$dir" "$@" || { rm -rf "$dir"; return 1; }
    ninja -C "$dir"
}

# meson_tests NAME DIR SLOW [meson test options]: the tests of one build; failures are counted one by
# one. Time limits end tests that hang: they are SLOW times those of meson.build, so that a machine
# with other work is not taken for that.
meson_tests() {
    local name=$1 dir=build/$2 slow=$3 began=$SECONDS
    shift 3
    rm -f "$dir/meson-logs/testlog-$name.json"
    # One more than there are cores: some tests wait for time to pass.
    meson test -C "$dir" --no-rebuild --num-processes $((cores + 1)) --logbase "testlog-$name" -t "$slow" "$@" >"$out/$name.log" 2>&1
    if [ -s "$dir/meson-logs/testlog-$name.json" ]; then
        cp "$dir/meson-logs/testlog-$name.json" "$dir/meson-logs/testlog-$name.txt" "$out/"
        mv "$out/testlog-$name.json" "$out/$name.json"
        say "  $(tests_line "$out/$name.log")  $name ($((SECONDS - began)) s)"
    else
        echo "not ok $name" >>"$out/steps.txt"
        say "  FAILED  $name: $out/$name.log"
        tail -n 20 "$out/$name.log" | sed 's/^/          /'
    fi
}

tests_line() {
    if grep -qE '^(Fail|Timeout|Unexpected Pass): *[1-9]' "$1"; then
        echo 'FAILED'
        grep -E '^ *[0-9]+/[0-9]+ .*(FAIL|ERROR|TIMEOUT)' "$1" | sed 's/^/          /' >&2
    else
        echo 'ok    '
    fi
}

# A virtual environment with the clients that the end-to-end tests drive.
make_venv() {
    cmp -s tests/requirements.txt build/venv/requirements.txt && return 0
    rm -rf build/venv
    python3 -m venv build/venv && build/venv/bin/python -m pip install -q -r tests/requirements.txt &&
        cp tests/requirements.txt build/venv/requirements.txt
}

# pytests NAME BINARY ARGUMENTS...
pytests() {
    local name=$1 binary=$PWD/$2 began=$SECONDS code
    shift 2
    GAUFRE_BIN=$binary build/venv/bin/python -m pytest -q -ra -p no:cacheprovider --timeout 1800 \
        -n $((cores < 4 ? cores : 4)) --dist worksteal --junitxml "$out/$name.xml" "$@" >"$out/$name.log" 2>&1
    code=$?
    if [ $code -eq 5 ]; then # nothing collected
        rm -f "$out/$name.xml"
    elif [ $code -ne 0 ]; then
        say "  FAILED  $name ($((SECONDS - began)) s): $out/$name.log"
        tail -n 60 "$out/$name.log" | sed 's/^/          /'
        [ -f "$out/$name.xml" ] || echo "not ok $name" >>"$out/steps.txt"
    else
        say "  ok      $name ($((SECONDS - began)) s): $(tail -n 1 "$out/$name.log")"
    fi
}

# The real models, kept between runs and clones. Tests that need them skip where no source can be
# reached, and say so.
use_models() {
    export GAUFRE_TEST_MODELS=$cache/home/models GOLDEN_MODELS=$cache/home/models
    if ! GAUFRE_HOME=$cache/home "$1" pull -q smollm2-135m gemma3-270m >"$out/models.log" 2>&1; then
        say "  note: a real model could not be fetched; its tests are skipped"
        sed 's/^/          /' "$out/models.log"
    fi
}

sanitizer_env() {
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
}

run_asan() {
    step "build asan, clang" build asan clang-14 -Ddebug=true -Doptimization=1 \
        -Db_sanitize=address,undefined -Db_lundef=false || return
    sanitizer_env
    meson_tests asan asan 20 --suite unit --suite fuzz --suite sweep
    [ "$tier" = full ] && pytests e2e-asan build/asan/src/cmd/gaufre -m sanitize tests/e2e
}

run_tsan() {
    step "build tsan, gcc" build tsan gcc -Ddebug=true -Doptimization=1 \
        -Db_sanitize=thread || return
    sanitizer_env
    meson_tests tsan tsan 40 --suite unit --no-suite single
    [ "$tier" = full ] && pytests e2e-tsan build/tsan/src/cmd/gaufre -m sanitize tests/e2e
}

run_fuzz() {
    local target
    step "build fuzz, clang" build fuzz clang-14 -Ddebug=true -Doptimization=1 \
        -Db_sanitize=address,undefined -Db_lundef=false -Dlibfuzzer=true || return
    sanitizer_env
    for target in build/fuzz/tests/fuzz/fuzz_*; do
        [ -f "$target" ] && [ -x "$target" ] || continue
        fuzz_one "$target" "$(basename "$target")"
    done
}

fuzz_one() {
    local seeds=tests/fuzz/corpus/${2#fuzz_} found=build/fuzz/found/$2
    mkdir -p "$found" "$seeds"
    step "$2" "$1" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=1 -rss_limit_mb=2048 \
        -artifact_prefix="$found/crash-" "$found" "$seeds"
}

# The clients for JavaScript, where there is node or it can be had.
use_node() {
    if ! { command -v node && command -v npm; } >/dev/null && ! tools/setup.sh js; then
        say "  note: node and npm are not installed and could not be; the clients for JavaScript are not tested"
    fi
}

# What packs, starts and rotates on a machine, where it can be had.
use_deploy() {
    tools/setup.sh deploy >"$out/deploy.log" 2>&1 ||
        say "  note: not all tools of deploy/ could be installed; tests without theirs are skipped"
}

# Slurm's own daemons and commands, which tests start for themselves, where they can be had.
use_slurm() {
    tools/setup.sh slurm >"$out/slurm.log" 2>&1 ||
        say "  note: Slurm could not be installed; that nodes are lent to it is not tested"
}

# The FinOps Foundation's judge of bills, where there is a Python that it runs on.
use_focus_validator() {
    local python venv=build/focus-venv
    [ -z "${GAUFRE_FOCUS_VALIDATOR:-}" ] || return 0
    if ! cmp -s tests/requirements-focus.txt $venv/requirements.txt; then
        for python in python3.12 python3.13 "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[23].*/bin/python ''; do
            "${python:-false}" -c 'import venv' 2>/dev/null && break
        done
        rm -rf $venv
        if ! { [ -n "$python" ] && "$python" -m venv $venv &&
            $venv/bin/python -m pip install -q -r tests/requirements-focus.txt; } >"$out/focus.log" 2>&1; then
            rm -rf $venv
            say "  note: no focus-validator (it wants Python 3.12 or 3.13); no bill is put before it"
            return 0
        fi
        cp tests/requirements-focus.txt $venv/requirements.txt
    fi
    export GAUFRE_FOCUS_VALIDATOR=$PWD/$venv/bin/focus-validator
}

# The page in a real browser, where there is one or one can be had.
run_browser() {
    if ! command -v chromium chromium-browser google-chrome >/dev/null && ! tools/setup.sh browser; then
        say "  note: Chromium is not installed and could not be; the page's tests are skipped"
    fi
    pytests browser "$1" tests/browser
}

run_quick() {
    step "build gcc" build release gcc && meson_tests quick release 5 --suite quick
}

run_full() {
    if step "build gcc, warnings are errors" build gcc gcc -Dwerror=true; then
        step "python environment" make_venv
        use_models build/gcc/src/cmd/gaufre
        use_deploy
        use_slurm
        meson_tests gcc gcc 5
        use_node
        use_focus_validator
        pytests e2e build/gcc/src/cmd/gaufre --ignore tests/browser tests
        run_browser build/gcc/src/cmd/gaufre
    fi
    if step "build clang, warnings are errors" build clang clang-14 -Dwerror=true; then
        # What is long is about the code, and gcc's: kernels and answers of this build are compared
        # with each other in the quick suite, too.
        meson_tests clang clang 5 --suite quick
    fi
    run_asan
    run_tsan
}

run_soak() {
    step "build gcc" build release gcc || return
    step "python environment" make_venv
    use_models build/release/src/cmd/gaufre
    GAUFRE_KILLS=${KILLS:-1000} pytests soak build/release/src/cmd/gaufre --timeout 36000 tests/e2e/test_kill.py tests/e2e/test_kill_streams.py
    step "simulated worlds" build/release/tests/sim/sim_cloud "$RANDOM" "${SEEDS:-100000}"
    step "stored answers in simulated worlds" build/release/tests/sim/sim_stored "$RANDOM" "${SEEDS:-100000}"
    step "contracts in simulated worlds" build/release/tests/sim/sim_contracts "$RANDOM" "${SEEDS:-100000}"
}

rm -rf "$out"
mkdir -p "$out"
case $tier in
quick) tools/setup.sh build || exit 1 ;;
full | asan | tsan | fuzz | soak) tools/setup.sh test || exit 1 ;;
*) echo "usage: tools/test.sh quick|full|asan|tsan|fuzz|soak" >&2; exit 2 ;;
esac
case $tier in
quick) run_quick ;;
full) run_full ;;
asan) run_asan ;;
tsan) run_tsan ;;
fuzz) run_fuzz ;;
soak) run_soak ;;
esac
python3 tools/tally.py "$out"
