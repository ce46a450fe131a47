#!/usr/bin/env bash
# Runs the binaries as in their container images, but without a container engine. image-root.sh assembles the root
# directory of each image. The process runs in this directory, which is read-only, as user 65532, without capabilities
# and with no_new_privs.
#
#   check-image.sh [DIRECTORY]
#
# DIRECTORY contains the binaries. The default is target/dist. Requires Linux, root, curl and the programs that `make
# test` installs. The script starts its own Redis and Postgres.
set -euo pipefail
cd "$(dirname "$0")/.."

services=(ingest-api list-api persist-worker ws-fanout stats-publisher)
binaries=${1:-target/dist}

work=$(mktemp -d)
chmod 711 "$work"
helpers=()
declare -A pid_of
stop_all() {
    {
        for pid in "${helpers[@]}" "${pid_of[@]}"; do kill -KILL "$pid" || true; done
        wait
    } 2> /dev/null
    rm -rf "$work"
}
trap stop_all EXIT

fail() {
    echo "failed: $*" >&2
    tail -n 20 "$work"/*.log >&2
    exit 1
}

# Retries a command for 30 seconds.
eventually() {
    for ((attempt = 0; attempt < 150; attempt++)); do
        if "$@" &> "$work/output"; then return; fi
        sleep 0.2
    done
    fail "$* did not succeed: $(cat "$work/output")"
}

# Sets `port` to the next free port.
port=$((RANDOM % 10000 + 20000))
find_port() {
    while ((++port)); (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
}

# --- Redis and Postgres

find_port
redis_port=$port
mkdir "$work/redis"
redis-server deploy/redis.conf --bind 127.0.0.1 --port "$redis_port" --dir "$work/redis" > "$work/redis.log" &
helpers+=($!)

find_port
postgres_port=$port
postgres_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
as_postgres=(setpriv --reuid postgres --regid postgres --init-groups)
install -d -o postgres -g postgres "$work/postgres"
(cd / && "${as_postgres[@]}" "$postgres_bin/initdb" -A trust -U mayfly -D "$work/postgres" > "$work/initdb.log" 2>&1)
"${as_postgres[@]}" "$postgres_bin/postgres" -D "$work/postgres" -p "$postgres_port" -k "$work/postgres" \
    -h 127.0.0.1 > "$work/postgres.log" 2>&1 &
helpers+=($!)

eventually redis-cli -p "$redis_port" ping
eventually "$postgres_bin/pg_isready" -h 127.0.0.1 -p "$postgres_port"
echo "Redis (deploy/redis.conf) and Postgres are up; using the binaries in $binaries"

# --- The image roots

for binary in "${services[@]}" mayfly; do
    deploy/image-root.sh "$binaries/$binary" "$work/$binary"
    echo "$binary: $(du -sm --apparent-size "$work/$binary" | cut -f 1) MB"
done
echo "content of an image: $(cd "$work/mayfly" && find . -type f | sort | cut -c 2- | tr '\n' ' ')"

# Adds the parts that a container engine provides: /proc, the names of the other containers and a volume.
for binary in "${services[@]}" mayfly; do
    mkdir "$work/$binary/proc"
    echo '127.0.0.1 localhost redis postgres s3' > "$work/$binary/etc/hosts"
done
install -d -o 65532 -g 65532 "$work/volume"

# --- The processes

find_port
s3_port=$port
environment=(
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    REDIS_URL="redis://redis:$redis_port"
    DATABASE_URL="postgres://mayfly@postgres:$postgres_port/postgres"
    AWS_ACCESS_KEY_ID=mayfly
    AWS_SECRET_ACCESS_KEY=mayfly-secret
    AWS_REGION=us-east-1
    AWS_ENDPOINT_URL="http://s3:$s3_port"
    MAYFLY_STATS__PUBLIC_ENDPOINT="http://127.0.0.1:$s3_port"
    MAYFLY_STATS__INTERVAL=5s
)
declare -A http admin
for service in "${services[@]}"; do
    find_port
    http[$service]=127.0.0.1:$port
    find_port
    admin[$service]=127.0.0.1:$port
done

# Replaces this shell with a process in an image: exec_in_image BINARY ARGUMENT…
exec_in_image() {
    # shellcheck disable=SC2016
    exec env -i "${environment[@]}" \
        MAYFLY_HTTP__LISTEN="${http[$1]:-127.0.0.1:0}" MAYFLY_ADMIN__LISTEN="${admin[$1]:-127.0.0.1:0}" \
        unshare --mount --propagation private bash -ec '
            mount --bind "$1" "$1"
            mount -o remount,bind,ro "$1"
            mount --bind /proc "$1/proc"
            if [ "$3" = mayfly ]; then mount --bind "$2" "$1/data"; fi
            exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$1" "/usr/local/bin/$3" "${@:4}"
        ' exec_in_image "$work/$1" "$work/volume" "$@"
}

# Starts a long-running binary in the background.
start() {
    exec_in_image "$@" > "$work/$1.log" 2>&1 &
    pid_of[$1]=$!
}

is_ready() { (exec_in_image "$1" --check-ready); }

echo "$(exec_in_image mayfly --version): $(exec_in_image mayfly config env | grep -c __) keys"
for service in "${services[@]}"; do
    echo "$(exec_in_image "$service" --version): $(exec_in_image "$service" --check-config)"
done
echo "mayfly migrate: $(exec_in_image mayfly migrate 2> "$work/migrate.log" | tail -n 1)"

start mayfly serve-s3 --listen "127.0.0.1:$s3_port" --root /data
for service in "${services[@]}"; do start "$service"; done
for service in "${services[@]}"; do
    eventually is_ready "$service"
    echo "$service is ready: $(tail -n 1 "$work/output")"
done

for binary in "${services[@]}" mayfly; do
    process=/proc/${pid_of[$binary]}
    credentials=$(awk '/^(Uid|Gid|CapPrm|CapEff|NoNewPrivs):/ { print $1 $2 }' "$process/status" | tr '\n' ' ')
    [ "$credentials" = "Uid:65532 Gid:65532 CapPrm:0000000000000000 CapEff:0000000000000000 NoNewPrivs:1 " ] ||
        fail "$binary runs as $credentials"
    if touch "$process/root/written" 2> /dev/null; then fail "$binary: its root is writable"; fi
done
echo "every process runs as $credentials, on a read-only root"

# --- Authentication

key=$(exec_in_image mayfly keys create --name image --scope operate 2> "$work/key.log")
[ -n "$key" ] || fail "no key was printed"
echo "mayfly keys list: $(exec_in_image mayfly keys list | grep -c image) key"
# A key on the command line of curl would be visible to other users of the machine.
(umask 077 && echo "header = \"Authorization: Bearer $key\"" > "$work/curl.conf")
authorized_curl() { curl -K "$work/curl.conf" "$@"; }
status=$(curl -s -o /dev/null -w '%{http_code}' "http://${http[list-api]}/v1/messages")
[ "$status" = 401 ] || fail "a request without credentials received $status"
is_accepted() { authorized_curl -sf "http://${http[list-api]}/v1/messages"; }
eventually is_accepted
echo "requests require a key"

# --- One message, end to end

curl -K "$work/curl.conf" -sN "http://${http[ws-fanout]}/v1/events" > "$work/events.log" &
helpers+=($!)
eventually grep -q hello "$work/events.log"
message=$(authorized_curl -sf "http://${http[ingest-api]}/v1/messages" --json '{"text":"from an image"}')
id=$(grep -o '[0-9a-f-]\{36\}' <<< "$message" | head -n 1)
authorized_curl -sf -o /dev/null "http://${http[list-api]}/v1/messages/$id" || fail "no message $id"
echo "posted, and read by ID: $id"
eventually grep -q "$id" "$work/events.log"
echo "delivered live"
is_stored() { authorized_curl -sf "http://${http[list-api]}/v1/messages" | grep "$id"; }
eventually is_stored
echo "stored"
is_in_s3() { curl -sfL "http://${http[list-api]}/v1/stats" | grep '"total":1'; }
eventually is_in_s3
echo "counted in the statistics, read from the S3 server"

# --- The operator's command, as executed in its own pod

audit=$(exec_in_image mayfly audit --wait 30s) || fail "the audit failed: $audit"
echo "mayfly audit: $(tail -n 1 <<< "$audit")"

# --- Graceful shutdown

for binary in "${services[@]}" mayfly; do kill -TERM "${pid_of[$binary]}"; done
for binary in "${services[@]}" mayfly; do
    code=0
    wait "${pid_of[$binary]}" || code=$?
    unset "pid_of[$binary]"
    [ "$code" = 0 ] || fail "$binary exited with $code"
    echo "$binary exited with 0"
done
