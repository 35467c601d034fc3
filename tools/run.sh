#!/bin/sh
# make run: from a bare machine to a served model. Build, fetch the default model, start the server,
# let it answer one prompt as a self-check, say how to call it, and stay up until ctrl-C.
#   MODEL=NAME|PATH  PORT=N  PROMPT=TEXT
set -eu
cd "$(dirname "$0")/.."

model=${MODEL:-smollm2-135m}
port=${PORT:-8080}
gaufre=build/release/src/cmd/gaufre
server=

say() { printf '%s\n' "$*" >&2; }

stop() {
    trap - INT TERM EXIT
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" || exit $?
    fi
    exit 0
}

[ -x "$gaufre" ] || say "building gaufre (a minute or two the first time) ..."
mkdir -p build
make --no-print-directory all >build/run-build.log 2>build/run-setup.log || {
    cat build/run-setup.log build/run-build.log >&2
    exit 1
}
grep '^setup:' build/run-setup.log >&2 || true

case $model in
*/* | *.gguf) ;;
*) "$gaufre" pull "$model" >/dev/null ;;
esac

# Requests are not logged here: the terminal is for the answer. "gaufre serve" logs them.
"$gaufre" serve "$model" --port "$port" --log-level warn &
server=$!
trap stop INT TERM EXIT
python3 tools/selfcheck.py "http://127.0.0.1:$port" "$server" "${PROMPT:-}"
wait "$server" || code=$?
server=
trap - EXIT
exit "${code:-0}"
