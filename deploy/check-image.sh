#!/usr/bin/env bash
# Does by hand what deploy/Dockerfile does once the binaries are built, and runs what comes out of it as a container
# would run: image-root.sh puts an image root together for each, which is mounted read-only and is all that the process
# sees; it is user 65532, without capabilities and without a way to new ones.
#
# check-image.sh [DIRECTORY]: where the binaries are, target/dist unless said otherwise. Needs Linux, root, curl, and what
# `make test` installs. Redis and Postgres are started for it alone.
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

# Tries a command for 30 seconds.
eventually() {
    for ((tries = 0; tries < 150; tries++)); do
        if "$@" &> "$work/tried"; then return; fi
        sleep 0.2
    done
    fail "$* said: $(cat "$work/tried")"
}

# Sets `port` to the next one that nobody listens on.
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
echo "Redis (deploy/redis.conf) and Postgres are up; binaries are those of $binaries"

# --- The image roots

for binary in "${services[@]}" mayfly; do
    deploy/image-root.sh "$binaries/$binary" "$work/$binary"
    echo "$binary: $(du -sm --apparent-size "$work/$binary" | cut -f 1) MB"
done
echo "an image holds: $(cd "$work/mayfly" && find . -type f | sort | cut -c 2- | tr '\n' ' ')"

# What a container engine adds: /proc, the names of other containers, a volume.
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

# Turns this shell into a process of an image: become BINARY ARGUMENT…
become() {
    # shellcheck disable=SC2016
    exec env -i "${environment[@]}" \
        MAYFLY_HTTP__LISTEN="${http[$1]:-127.0.0.1:0}" MAYFLY_ADMIN__LISTEN="${admin[$1]:-127.0.0.1:0}" \
        unshare --mount --propagation private bash -ec '
            mount --bind "$1" "$1"
            mount -o remount,bind,ro "$1"
            mount --bind /proc "$1/proc"
            if [ "$3" = mayfly ]; then mount --bind "$2" "$1/data"; fi
            exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$1" "/usr/local/bin/$3" "${@:4}"
        ' become "$work/$1" "$work/volume" "$@"
}

# Starts a binary that stays.
start() {
    become "$@" > "$work/$1.log" 2>&1 &
    pid_of[$1]=$!
}

is_ready() { (become "$1" --check-ready); }

echo "$(become mayfly --version): $(become mayfly config env | grep -c __) keys"
for service in "${services[@]}"; do
    echo "$(become "$service" --version): $(become "$service" --check-config)"
done
echo "mayfly migrate: $(become mayfly migrate 2> "$work/migrate.log" | tail -n 1)"

start mayfly serve-s3 --listen "127.0.0.1:$s3_port" --root /data
for service in "${services[@]}"; do start "$service"; done
for service in "${services[@]}"; do
    eventually is_ready "$service"
    echo "$service is ready: $(tail -n 1 "$work/tried")"
done

for binary in "${services[@]}" mayfly; do
    process=/proc/${pid_of[$binary]}
    who=$(awk '/^(Uid|Gid|CapPrm|CapEff|NoNewPrivs):/ { print $1 $2 }' "$process/status" | tr '\n' ' ')
    [ "$who" = "Uid:65532 Gid:65532 CapPrm:0000000000000000 CapEff:0000000000000000 NoNewPrivs:1 " ] ||
        fail "$binary is $who"
    if touch "$process/root/written" 2> /dev/null; then fail "$binary: its root can be written"; fi
done
echo "each is $who, on a read-only root"

# --- A message goes its way

curl -sN "http://${http[ws-fanout]}/v1/events" > "$work/events.log" &
helpers+=($!)
eventually grep -q hello "$work/events.log"
message=$(curl -sf "http://${http[ingest-api]}/v1/messages" --json '{"text":"from an image"}')
id=$(grep -o '[0-9a-f-]\{36\}' <<< "$message" | head -n 1)
curl -sf -o /dev/null "http://${http[list-api]}/v1/messages/$id" || fail "no message $id"
echo "posted, and found by id: $id"
eventually grep -q "$id" "$work/events.log"
echo "seen live"
is_stored() { curl -sf "http://${http[list-api]}/v1/messages" | grep "$id"; }
eventually is_stored
echo "stored"
is_in_s3() { curl -sfL "http://${http[list-api]}/v1/stats" | grep '"total":1'; }
eventually is_in_s3
echo "counted in the statistics, over the S3 server"

# --- Everybody leaves when asked

for binary in "${services[@]}" mayfly; do kill -TERM "${pid_of[$binary]}"; done
for binary in "${services[@]}" mayfly; do
    code=0
    wait "${pid_of[$binary]}" || code=$?
    unset "pid_of[$binary]"
    [ "$code" = 0 ] || fail "$binary left with $code"
    echo "$binary left with 0"
done
