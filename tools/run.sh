#!/bin/sh
# make run: from a bare machine to a served model. Build, fetch the default model, start the server,
# let it answer one prompt as a self-check, say how to call it, and stay up until ctrl-C.
set -eu
cd "$(dirname "$0")/.."

model=${MODEL:-smollm2-135m}
port=${PORT:-8080}
gaufre=build/release/src/cmd/gaufre

say() { printf '%s\n' "$*" >&2; }

make --no-print-directory all >build.log.$$ 2>&1 || { cat build.log.$$ >&2; rm -f build.log.$$; exit 1; }
rm -f build.log.$$
