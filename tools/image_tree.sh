#!/bin/bash
# The files of a container image: tools/image_tree.sh PROGRAM FOLDER
#
# The program, the libraries that it links and those that it opens when they are needed, certificates, time zones, and a
# user. No shell, no package manager. deploy/Containerfile makes an image of it; the tests run it in a chroot.
set -eu -o pipefail
[ $# -eq 2 ] || { echo "usage: tools/image_tree.sh PROGRAM FOLDER" >&2; exit 2; }
program=$1
tree=$2
opened='libcurl.so.4 libssl.so.3 libpq.so.5' # by dlopen: TLS, suppliers and pulls, PostgreSQL
certificates=/etc/ssl/certs/ca-certificates.crt
umask 022

put() { install -D -m "$1" "$2" "$tree$3"; }
find_library() { ldconfig -p | sed -n "s|^\t$1 (libc6,x86-64.*=> ||p; s|^\t$1 (libc6,AArch64.*=> ||p" | head -n 1; }

files=$program
for name in $opened; do
    path=$(find_library "$name")
    [ -n "$path" ] || { echo "image_tree: no $name here" >&2; exit 1; }
    files="$files $path"
done
[ -e "$certificates" ] || { echo "image_tree: no $certificates here (ca-certificates)" >&2; exit 1; }

put 755 "$program" /usr/bin/gaufre
strip --strip-unneeded "$tree/usr/bin/gaufre"
{
    for file in $files; do
        [ "$file" = "$program" ] || echo "$file"
        ldd "$file" | sed -n 's|.*=> \(/[^ ]*\) .*|\1|p; s|^\t\(/[^ ]*\) (.*|\1|p'
    done
} | sort -u | while read -r library; do
    put 755 "$(realpath "$library")" "$library"
done
put 644 "$certificates" "$certificates"
mkdir -p "$tree/usr/lib/ssl" "$tree/usr/share" "$tree/etc/gaufre" "$tree/tmp"
ln -sfn /etc/ssl/certs "$tree/usr/lib/ssl/certs"
cp -a /usr/share/zoneinfo "$tree/usr/share/"
rm -rf "$tree/usr/share/zoneinfo/right" "$tree/usr/share/zoneinfo/posix"
echo 'gaufre:x:65532:65532:gaufre:/var/lib/gaufre:/usr/sbin/nologin' >"$tree/etc/passwd"
echo 'gaufre:x:65532:' >"$tree/etc/group"
echo 'hosts: files dns' >"$tree/etc/nsswitch.conf"
chmod 1777 "$tree/tmp"
mkdir -p -m 700 "$tree/var/lib/gaufre"
if [ "$(id -u)" -eq 0 ]; then
    chown 65532:65532 "$tree/var/lib/gaufre"
fi
