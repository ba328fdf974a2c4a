#!/usr/bin/env bash
# Asks a running server everything that presence-server/openapi.json allows, and what it does not: at least 200 requests to
# each operation that has anything to vary. Fails where an answer is not the documented one, or the server logs an error.
# About 90 s.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/schemathesis
wanted=scripts/schemathesis/requirements.txt
if ! cmp -s "$wanted" "$tools/installed.txt"; then
    python3 -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --requirement "$wanted"
    cp "$wanted" "$tools/installed.txt"
fi

"$tools/bin/openapi-spec-validator" presence-server/openapi.json

# Closed, as other machines would meet it, so that leaving a credential out is tried too.
secret=$(head --bytes=32 /dev/urandom | base64)
key=$(head --bytes=32 /dev/urandom | base64)
token=$(SECRET=$secret python3 - <<'TOKEN'
import base64, hashlib, hmac, json, os, time

def text(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=")

claims = {"sub": "alice", "aud": "presence", "exp": int(time.time()) + 3600, "scope": "admin"}
parts = text(b'{"alg":"HS256"}') + b"." + text(json.dumps(claims).encode())
print((parts + b"." + text(hmac.digest(os.environ["SECRET"].encode(), parts, hashlib.sha256))).decode())
TOKEN
)

cargo build --quiet --locked --package presence-server
binary=$target/debug/presence-server
folder=$(mktemp -d)
: >"$folder/log"
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
(
    # Its own environment and folder: no variable and no .env of whoever runs this counts.
    cd "$folder"
    exec env -i BIND_ADDRESS=0.0.0.0:0 JWT_SECRET="$secret" ADMIN_API_KEY="$key" \
        DATABASE_URL=sqlite:presence.db LOG_FORMAT=json "$binary"
) 2>>"$folder/log" &
server=$!
port=$(tail --pid="$server" --lines=+1 --follow "$folder/log" | grep --max-count=1 --only-matching 'listening on http://[0-9.:]*' || true)
[ -n "$port" ] || { cat "$folder/log" >&2; exit 1; }
url=http://127.0.0.1:${port##*:}
"$binary" healthcheck --url "$url/livez"

status=0
"$tools/bin/schemathesis" --config-file scripts/schemathesis/schemathesis.toml run presence-server/openapi.json \
    --url "$url" --header "Authorization: Bearer $token" --header "X-Api-Key: $key" --checks all --phases examples,coverage,fuzzing,stateful --max-examples 200 --seed 1 \
    --generation-database none --continue-on-failure --no-color || status=$?

kill -TERM "$server"
wait "$server" || { echo "the server ended with $?" >&2; status=1; }
if grep --extended-regexp '"level":"ERROR"|panicked at' "$folder/log" >&2; then
    echo "the server logged an error" >&2
    status=1
fi
exit "$status"
