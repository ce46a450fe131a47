#!/bin/sh
# Generates valid and invalid requests from the OpenAPI document and validates the responses, on a stack with its own
# servers and ports: each API twice in the mode `open` and twice in the mode `keys`. In the mode `keys`, requests have an
# API key with all rights, and each operation is also called without credentials and with invalid ones. The check
# use_after_free is excluded: a deleted message is expired but still readable.
set -eu
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "schemathesis needs Python 3 with venv: apt-get install python3-venv, or python3 of Homebrew" >&2
    exit 1
fi
# Ignore settings of the caller for another stack.
for name in SCALE $(env | sed -n 's/^\(MAYFLY_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../target
venv=$target/schemathesis
stack=$(mktemp -d)

# Runs the command in the mode $mode. Failed authentications are not limited, because they all have the same address.
mayfly() {
    (
        export MAYFLY_AUTH__MODE="$mode" MAYFLY_LIMITS__AUTH_FAILURES=off
        cd "$stack" && MAYFLY_PORT_BASE=9500 MAYFLY_STATS__INTERVAL=1s "$target/release/mayfly" "$@"
    )
}

url() {
    sed -n "s/^$1=//p" "$stack/.mayfly/stack.env"
}

mode=open
trap 'mayfly reset --yes; rm -r "$stack"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cd "$venv"

# Tests one API. Arguments: its URL, the URL and name of the other one, whose operations are excluded, and further options.
test_api() {
    base=$1 other="{\"url\":\"$2\",\"description\":\"$3\"}"
    shift 3
    echo "== $base (mode $mode)"
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here \
        bin/schemathesis --config-file "$here/schemathesis.toml" run "$base/openapi.json" --url "$base" \
        --exclude-by "/servers == [$other]" "$@" \
        --checks all --exclude-checks use_after_free --mode all --generation-database none
}

for mode in open keys; do
    mayfly up
    ingest=$(url INGEST_API_URL)
    list=$(url LIST_API_URL)
    set --
    if [ "$mode" = keys ]; then
        set -- --header "Authorization: Bearer $(mayfly keys create --name schemathesis --scope operate)"
    fi
    for _ in 1 2; do
        test_api "$ingest" "$list" list-api "$@"
        test_api "$list" "$ingest" ingest-api "$@"
    done
    mayfly reset --yes
done
