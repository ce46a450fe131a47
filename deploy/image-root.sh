#!/usr/bin/env bash
# Puts together all that an image holds: image-root.sh BINARY DESTINATION
#
# The binary and what it was linked with, certificates for calls over TLS, a name for the user, a directory for a
# volume. No shell, no packages: what is not there needs no updates and helps no intruder.
set -euo pipefail

binary=$1
root=$2
umask 022

install -D -m 755 "$binary" "$root/usr/local/bin/$(basename "$binary")"

# Every path in lines such as `libc.so.6 => /lib/…/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

echo 'mayfly:x:65532:65532:Mayfly:/data:/usr/sbin/nologin' > "$root/etc/passwd"
echo 'mayfly:x:65532:' > "$root/etc/group"

# All else belongs to root. A volume that is new takes over whose this directory is.
install -d -m 755 -o 65532 -g 65532 "$root/data"
