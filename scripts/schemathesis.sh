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

cargo build --quiet --locked --package presence-server
binary=$target/debug/presence-server
folder=$(mktemp -d)
: >"$folder/log"
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
(
    # Its own environment and folder: no variable and no .env of whoever runs this counts.
    cd "$folder"
    exec env -i BIND_ADDRESS=127.0.0.1:0 DATABASE_URL=sqlite:presence.db LOG_FORMAT=json "$binary"
) 2>>"$folder/log" &
server=$!
url=$(tail --pid="$server" --lines=+1 --follow "$folder/log" | grep --max-count=1 --only-matching 'http://[0-9.:]*' || true)
[ -n "$url" ] || { cat "$folder/log" >&2; exit 1; }
"$binary" healthcheck --url "$url/livez"

status=0
"$tools/bin/schemathesis" --config-file scripts/schemathesis/schemathesis.toml run presence-server/openapi.json \
    --url "$url" --checks all --phases examples,coverage,fuzzing,stateful --max-examples 200 --seed 1 \
    --generation-database none --continue-on-failure --no-color || status=$?

kill -TERM "$server"
wait "$server" || { echo "the server ended with $?" >&2; status=1; }
if grep --extended-regexp '"level":"ERROR"|panicked at' "$folder/log" >&2; then
    echo "the server logged an error" >&2
    status=1
fi
exit "$status"
