#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licenses, sources, and which packages may use which others. Known
# vulnerabilities are checked if the advisory database has been fetched. With --fetch, fetches it from GitHub first.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools=target/tools
deny=$tools/bin/cargo-deny
: "${CARGO:=cargo}" "${CARGO_HOME:=$HOME/.cargo}"
export CARGO_HOME

# Compiled without optimization, which takes a third of the time; the checks take seconds. The lints of the workspace and
# its compiler wrapper do not apply.
if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "Building cargo-deny $version…"
    env -u RUSTC_WORKSPACE_WRAPPER -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=false \
        "$CARGO" install cargo-deny --version "=$version" --locked --debug --quiet --force \
        --root "$tools" --target-dir "$tools/build"
    # The compiled dependencies are not needed again.
    rm -r "$tools/build"
fi

"$deny" --locked --log-level warn check --hide-inclusion-graph bans licenses sources
if [ "${1-}" = --fetch ]; then
    "$deny" --locked --log-level warn check --hide-inclusion-graph advisories
elif compgen -G "$CARGO_HOME/advisory-dbs/*/crates" >/dev/null; then
    "$deny" --locked --offline --log-level warn check --hide-inclusion-graph advisories
else
    echo 'Vulnerabilities were not checked: run `make advisories`, which fetches the advisory database from GitHub.'
fi
