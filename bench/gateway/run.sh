#!/bin/sh
# make bench-gateway: see run.py. In a network namespace with nothing but loopback where one can be made, without what the
# environment holds: the peers are other people's programs.
#
#   bench/gateway/run.sh [--quick] [OPTIONS OF run.py]      QUICK=1: under two minutes, without peers
set -eu
cd "$(dirname "$0")/../.."
quick=${QUICK:-} peers=
for option in "$@"; do
    case $option in
    --quick) quick=1 ;;
    --peers | --peers=*) peers=given ;;
    -h | --help) exec python3 bench/gateway/run.py --help ;;
    esac
done
[ "$quick" != 0 ] || quick=
[ -n "$quick" ] || venvs=$(bench/gateway/peers.sh)
[ -z "$quick" ] || set -- --quick "$@"
if [ -z "$peers" ]; then
    [ -n "$quick" ] && set -- "$@" --peers none || set -- "$@" --peers nginx,envoy,ferro,tensorzero,litellm
fi

# 10,000 streams through a gateway are 20,000 sockets of it.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

for unshare in 'unshare -n' 'unshare -rn' ''; do
    [ -z "$unshare" ] || ! $unshare true 2>/dev/null || break
done
[ -z "$unshare" ] || set -- "$@" --alone
exec env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 $unshare \
    sh -c '[ -z "$1" ] || python3 bench/gateway/loopback.py; shift; exec python3 bench/gateway/run.py "$@"' run \
    "$unshare" ${venvs:+--venvs "$venvs"} "$@"
