#!/bin/sh
# Installs the programs that the local stack and its tests need.
#
#   install-dependencies.sh [--no-check] [redis] [postgres] [chromium] [nginx] [prometheus]
#
# Without names, the script installs all of these programs. It skips programs that are already installed, unless
# --no-check is given. It uses apt-get on Debian and Ubuntu (as root, or through sudo) and brew on macOS. On other
# systems, it prints which programs to install. Unless it runs as root, in a container or in CI, it asks for
# confirmation.
#
# The installed packages do not run as system services after the script, and do not start at boot.
set -eu

policy=/usr/sbin/policy-rc.d
policy_marker='# Created by Mayfly while it installs packages.'
cluster_config=/etc/postgresql-common/createcluster.conf

fail() {
    echo "mayfly: $*" >&2
    exit 1
}

# --- Detection ---------------------------------------------------------------------------------------------------

has_program() {
    for program in "$@"; do
        if command -v "$program" >/dev/null; then return 0; fi
    done
    return 1
}

has_postgres() {
    has_program postgres && return 0
    for program in /usr/lib/postgresql/*/bin/postgres /opt/homebrew/opt/postgresql*/bin/postgres \
        /usr/local/opt/postgresql*/bin/postgres; do
        if [ -x "$program" ]; then return 0; fi
    done
    return 1
}

has_chromium() {
    if [ -d "/Applications/Chromium.app" ] || [ -d "/Applications/Google Chrome.app" ]; then return 0; fi
    for program in chromium chromium-browser google-chrome-stable google-chrome chrome; do
        # On Ubuntu, the program may be a stub that only suggests installing a snap.
        if "$program" --version --no-sandbox >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

is_present() {
    case $1 in
    redis) has_program redis-server ;;
    postgres) has_postgres ;;
    chromium) has_chromium ;;
    nginx) has_program nginx ;;
    prometheus) has_program prometheus && has_program promtool ;;
    *) fail "unknown dependency '$1': expected redis, postgres, chromium, nginx or prometheus" ;;
    esac
}

is_container_or_ci() {
    [ -n "${CI:-}" ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]
}

confirm() {
    if [ "$(id -u)" = 0 ] || is_container_or_ci; then return 0; fi
    if ! [ -t 0 ] || ! [ -t 2 ]; then return 1; fi
    printf 'Continue? [y/N] ' >&2
    read -r answer || return 1
    case $answer in y | Y | yes) return 0 ;; *) return 1 ;; esac
}

# --- Homebrew ----------------------------------------------------------------------------------------------------

# Homebrew does not start services.
install_with_brew() {
    formulae=
    for name in "$@"; do
        case $name in
        chromium) fail "the tests of the web page need a browser; install one with: brew install --cask google-chrome" ;;
        postgres) formulae="$formulae postgresql@17" ;;
        *) formulae="$formulae $name" ;;
        esac
    done
    echo "Mayfly needs:$formulae. Command: brew install$formulae" >&2
    confirm || fail "not installed; install with: brew install$formulae"
    # shellcheck disable=SC2086 # a list of words
    brew install $formulae
}

# --- apt-get -----------------------------------------------------------------------------------------------------

install_with_apt() {
    packages=
    for name in "$@"; do
        case $name in
        redis) packages="$packages redis-server" ;;
        postgres) packages="$packages postgresql" ;;
        chromium)
            if grep -Eq '^ID="?ubuntu"?$' /etc/os-release; then
                fail "the tests of the web page need a browser, and Ubuntu has Chromium only as a snap;" \
                    "install it with: sudo snap install chromium"
            fi
            packages="$packages chromium"
            ;;
        *) packages="$packages $name" ;;
        esac
    done
    by_hand="install with: sudo apt-get install$packages"
    sudo=
    if [ "$(id -u)" != 0 ]; then sudo='sudo '; fi
    echo "Mayfly needs:$packages. Command: ${sudo}apt-get install$packages" >&2
    confirm || fail "not installed; $by_hand"
    # shellcheck disable=SC2086 # a list of words
    if [ "$(id -u)" = 0 ]; then
        install_packages_without_services $packages
    else
        has_program sudo || fail "not installed, because sudo is missing; $by_hand"
        sudo sh "$0" --apt-as-root $packages || fail "apt-get failed; $by_hand"
    fi
}

is_installed() {
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# On a machine that has just booted, another process may hold the lock of apt for a while.
apt_install() {
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# The installation scripts of packages ask policy-rc.d whether they may start a service. An existing policy belongs to
# the machine and is kept. The services that it allows to start are stopped at the end.
forbid_service_starts() {
    if [ -e "$policy" ] && ! grep -qF "$policy_marker" "$policy"; then return; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_marker" >"$policy"
    chmod 755 "$policy"
}

# By default, the PostgreSQL package creates and starts a database cluster.
forbid_cluster_creation() {
    apt_install postgresql-common
    [ -e "$cluster_config" ] || return 0
    cp -p "$cluster_config" "$cluster_config.mayfly"
    printf '\ncreate_main_cluster = false\n' >>"$cluster_config"
}

# Also cleans up after an earlier run that was interrupted.
restore_policies() {
    if [ -e "$cluster_config.mayfly" ]; then mv -f "$cluster_config.mayfly" "$cluster_config"; fi
    if [ -e "$policy" ] && grep -qF "$policy_marker" "$policy"; then rm -f "$policy"; fi
}

stop_and_disable_service() {
    if [ -d /run/systemd/system ]; then
        systemctl disable --now "$1.service" || true
    else
        if has_program systemctl; then systemctl disable "$1.service" || true; fi
        service "$1" stop || true
        if has_program update-rc.d; then update-rc.d "$1" disable || true; fi
    fi
}

# Runs as root. Services of packages that are already installed are not stopped.
install_packages_without_services() {
    services=
    new_packages=
    for package in "$@"; do
        if is_installed "$package"; then continue; fi
        new_packages="$new_packages $package"
        case $package in
        chromium) ;; # has no service
        # The service `postgresql` is shared by all installed versions.
        postgresql) is_installed postgresql-common || services="$services $package" ;;
        *) services="$services $package" ;;
        esac
    done

    restore_policies
    trap restore_policies EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    export DEBIAN_FRONTEND=noninteractive
    forbid_service_starts
    apt-get update
    case " $new_packages " in *' postgresql '*) forbid_cluster_creation ;; esac
    apt_install "$@"
    for service in $services; do stop_and_disable_service "$service"; done
}

# --- Main --------------------------------------------------------------------------------------------------------

# The programs that manage packages and services are in the sbin directories, which are not in every user's PATH.
PATH=$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin:/snap/bin:/opt/homebrew/bin

if [ "${1:-}" = --apt-as-root ]; then
    shift
    install_packages_without_services "$@"
    exit
fi

check=yes
if [ "${1:-}" = --no-check ]; then
    check=no
    shift
fi
if [ $# = 0 ]; then set -- redis postgres chromium nginx prometheus; fi

missing=
for name in "$@"; do
    if [ $check = no ] || ! is_present "$name"; then missing="$missing $name"; fi
done
if [ -z "$missing" ]; then exit 0; fi

# shellcheck disable=SC2086 # a list of words
if has_program apt-get; then
    install_with_apt $missing
elif has_program brew; then
    install_with_brew $missing
else
    fail "neither apt-get nor brew is available; install these programs:$missing"
fi
