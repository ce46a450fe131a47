# Installs the packages named as arguments, so that none of them runs or starts with the machine. Run by root.
set -eu

policy=/usr/sbin/policy-rc.d
mark='# Put here by Mayfly while it installs packages.'
clusters=/etc/postgresql-common/createcluster.conf

is_installed() {
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# Another run of apt may hold the lock for a while, as on a machine that has just started.
install_packages() {
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# Packages ask this program whether they may start what they bring. One that is already there is the machine's own and
# is left alone; whatever it lets start is stopped at the end. One of ours is left only by a run that was cut off.
forbid_starts() {
    if [ -e "$policy" ] && ! grep -qF "$mark" "$policy"; then return; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

# PostgreSQL's package makes and starts a database cluster of its own unless it is told not to.
forbid_cluster() {
    install_packages postgresql-common
    [ -e "$clusters" ] || return 0
    cp -p "$clusters" "$clusters.mayfly"
    printf '\ncreate_main_cluster = false\n' >>"$clusters"
}

restore() {
    if [ -e "$clusters.mayfly" ]; then mv -f "$clusters.mayfly" "$clusters"; fi
    if [ -e "$policy" ] && grep -qF "$mark" "$policy"; then rm -f "$policy"; fi
}

# Ends the service of a package that was not here before, and keeps it from starting with the machine.
retire() {
    if [ -d /run/systemd/system ]; then
        systemctl disable --now "$1.service" || true
    else
        if command -v systemctl >/dev/null; then systemctl disable "$1.service" || true; fi
        service "$1" stop || true
        if command -v update-rc.d >/dev/null; then update-rc.d "$1" disable || true; fi
    fi
}

export DEBIAN_FRONTEND=noninteractive
new=
for package in "$@"; do
    if ! is_installed "$package"; then new="$new $package"; fi
done
# The service `postgresql` is that of every version: where there was one before, it is the machine's own. Chromium has
# no service.
ours=
for package in $new; do
    case $package in
    chromium) ;;
    postgresql) is_installed postgresql-common || ours="$ours $package" ;;
    *) ours="$ours $package" ;;
    esac
done

restore
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
forbid_starts
apt-get update
case " $new " in
*' postgresql '*) forbid_cluster ;;
esac
install_packages "$@"
for package in $ours; do retire "$package"; done
