#!/bin/bash
# Make a Debian package: tools/deb.sh PROGRAM FOLDER
#
# PROGRAM is gaufre as it was built; its version is the package's, VERSION= another one. Prints the path of the package
# in FOLDER. The same program and commit give the same bytes. MAINTAINER= names who answers for it.
set -eu -o pipefail
[ $# -eq 2 ] || { echo "usage: tools/deb.sh PROGRAM FOLDER" >&2; exit 2; }
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/.."
umask 022

version=${VERSION:-$("$program" --version | cut -d ' ' -f 2)}
arch=$(dpkg --print-architecture)
maintainer=${MAINTAINER:-gaufre maintainers <maintainers@gaufre.example.com>}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y meson.build)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree

# put MODE FILE PATH: one file at its place below the tree.
put() { install -D -m "$1" "$2" "$tree$3"; }
pack() { gzip -9nc "$1" >"$work/packed" && put 644 "$work/packed" "$2.gz"; }

put 755 "$program" /usr/bin/gaufre
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/gaufre"
for shell in bash:bash-completion/completions/gaufre zsh:zsh/vendor-completions/_gaufre \
    fish:fish/vendor_completions.d/gaufre.fish; do
    "$program" completion "${shell%%:*}" >"$work/completion"
    put 644 "$work/completion" "/usr/share/${shell#*:}"
done
pack docs/gaufre.1 /usr/share/man/man1/gaufre.1
put 644 deploy/systemd/gaufre.service /lib/systemd/system/gaufre.service
put 644 deploy/systemd/gaufre.socket /lib/systemd/system/gaufre.socket
put 644 deploy/logrotate/gaufre /etc/logrotate.d/gaufre
put 644 deploy/debian/gaufre.yaml /etc/gaufre/gaufre.yaml
put 644 deploy/debian/copyright /usr/share/doc/gaufre/copyright
put 644 deploy/debian/README.Debian /usr/share/doc/gaufre/README.Debian
for page in operations api formats glossary; do
    pack "docs/$page.md" "/usr/share/doc/gaufre/$page.md"
done
for file in $(find examples -type f | sort); do
    put 644 "$file" "/usr/share/doc/gaufre/$file"
done
printf 'gaufre (%s) stable; urgency=medium\n\n  * As built from the sources of this version.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$work/changelog"
pack "$work/changelog" /usr/share/doc/gaufre/changelog

mkdir "$tree/DEBIAN" "$work/debian"
for script in postinst prerm postrm; do
    install -m 755 "deploy/debian/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find etc -type f -printf '/%p\n' | sort) >"$tree/DEBIAN/conffiles"
(cd "$tree" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | sort -z |
    xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
chmod 644 "$tree/DEBIAN/conffiles" "$tree/DEBIAN/md5sums"

# dpkg-shlibdeps wants a source's control file where it is run.
printf 'Source: gaufre\n\nPackage: gaufre\nArchitecture: any\n' >"$work/debian/control"
shlibs=$(cd "$work" && dpkg-shlibdeps -O "$tree/usr/bin/gaufre" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|; s|@SHLIBS@|$shlibs|" \
    -e "s|@SIZE@|$(du -k -s --apparent-size "$tree" | cut -f 1)|" deploy/debian/control >"$tree/DEBIAN/control"

dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/gaufre_${version}_$arch.deb" >/dev/null
echo "$out/gaufre_${version}_$arch.deb"
