#!/bin/sh
# Install the Debian packages that are missing: tools/setup.sh build|test|browser|deb|deploy|js|slurm
# Says what and why before it installs; silent and fast when nothing is missing. Asks for sudo only
# when it is not root.
set -eu

for_build='gcc libc6-dev meson ninja-build pkg-config python3 libevent-dev libnghttp2-dev
    libcurl4-openssl-dev libssl-dev libsodium-dev libjansson-dev libsqlite3-dev libpcre2-dev libutf8proc-dev libyaml-dev
    libedit-dev libzip-dev zlib1g-dev libcmocka-dev libjs-marked
    libjs-highlight.js ca-certificates'
for_test='clang-14 libclang-rt-14-dev clang-format-14 python3-venv curl zsh fish postgresql libpq5'
for_browser='chromium' # half a GB; the tests of the page are skipped where it cannot be had
for_deb='dpkg-dev'
for_deploy="$for_deb lintian logrotate prometheus systemd" # what is in deploy/ is not tested where they cannot be had
for_slurm='slurmctld slurmd slurm-client munge' # lending nodes to Slurm is not tested where they cannot be had
for_js='nodejs npm' # the clients for JavaScript are not tested where they cannot be had

case ${1:-build} in
build) wanted=$for_build; why='to build gaufre' ;;
test) wanted="$for_build $for_test"; why='to build and test gaufre' ;;
browser) wanted=$for_browser; why='to test the page in a browser' ;;
deb) wanted=$for_deb; why='to make a package' ;;
deploy) wanted=$for_deploy; why='to test packages, units, boards and alert rules' ;;
js) wanted=$for_js; why='to test with the clients for JavaScript' ;;
slurm) wanted=$for_slurm; why='to test with a real Slurm' ;;
*) echo "usage: tools/setup.sh build|test|browser|deb|deploy|js|slurm" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: not a Debian system; what is needed $why:" $wanted >&2
    exit 0 # the build says what it really misses
fi

# ${db:Status-Status} is "installed" for what is there; unknown names only reach stderr.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
    sed -n 's/ installed$//p')

# Whether the programs of a package are there already, from wherever: Debian's package could be in
# the way of theirs (nodesource's nodejs, for one, conflicts with Debian's npm).
have_programs() {
    case $1 in
    nodejs) command -v node ;;
    slurmctld | slurmd) command -v "$1" ;;
    slurm-client) command -v scontrol ;;
    munge) command -v munged ;;
    npm) command -v npm ;;
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    *) false ;;
    esac >/dev/null
}

missing=
for package in $wanted; do
    case "
$installed
" in
    *"
$package
"*) ;;
    *) have_programs "$package" || missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

echo "setup: installing$missing ($why)" >&2
if [ "$(id -u)" -eq 0 ]; then
    root=
elif command -v sudo >/dev/null 2>&1; then
    root=sudo
    echo "setup: asking for root by sudo, for apt-get alone" >&2
else
    echo "setup: not root, and there is no sudo; as root: apt-get install$missing" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
        </dev/null >"$log" 2>&1
}
# Fresh machines have no package lists, old ones stale lists: update only when that is the trouble.
if ! install; then
    $root apt-get update </dev/null >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    install || { cat "$log" >&2; exit 1; }
fi
