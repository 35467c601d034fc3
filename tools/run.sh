#!/bin/sh
# make run: from a bare machine to a served model. Build, fetch the default model, start the server,
# let it answer one prompt as a self-check, say how to call it, and stay up until ctrl-C.
#   MODEL=NAME|PATH  PORT=N  PROMPT=TEXT
set -eu
cd "$(dirname "$0")/.."

model=${MODEL:-smollm2-135m}
port=${PORT:-8080}
gaufre=build/release/src/cmd/gaufre

say() { printf '%s\n' "$*" >&2; }

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

# The server takes this process's place, so that signals reach it. Requests are not logged here: the
# terminal is for the answer.
python3 tools/selfcheck.py "http://127.0.0.1:$port" $$ "${PROMPT:-}" &
exec "$gaufre" serve "$model" --port "$port" --log-level warn
