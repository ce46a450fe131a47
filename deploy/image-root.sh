#!/usr/bin/env bash
# Assembles the root directory of a container image: image-root.sh BINARY DESTINATION
#
# The root directory contains the binary and its shared libraries, CA certificates, a user name, and a directory for a
# volume. It contains neither a shell nor packages, because they would need updates and could help an attacker.
set -euo pipefail

binary=$1
root=$2
umask 022

install -D -m 755 "$binary" "$root/usr/local/bin/$(basename "$binary")"

# Finds every path in lines such as `libc.so.6 => /lib/…/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

echo 'mayfly:x:65532:65532:Mayfly:/data:/usr/sbin/nologin' > "$root/etc/passwd"
echo 'mayfly:x:65532:' > "$root/etc/group"

# Everything else belongs to root. A new volume inherits the owner of this directory.
install -d -m 755 -o 65532 -g 65532 "$root/data"
