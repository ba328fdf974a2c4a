#!/bin/sh
# A user's minute over HTTP: start the server, then run this. It needs curl.
#
#     BASE=http://127.0.0.1:3000 examples/checkpoints.sh
set -eu

BASE=${BASE:-http://127.0.0.1:3000}
USER_URL=$BASE/users/${NAME:-alice}

say() { printf '\n# %s\n' "$1"; }
post() { curl -fsS -X POST "$1" -H 'Content-Type: application/json' -d "$2"; echo; }
get() { curl -fsS "$1"; echo; }

say 'is the server there?'
get "$BASE/health"

say 'working'
post "$USER_URL/checkpoints" '{"state": "Working"}'

say 'idle, with content'
post "$USER_URL/checkpoints" '{"state": "Idle", "content": {"device": "MacBook", "battery": 85}}'

say 'a state of our own'
post "$USER_URL/checkpoints" '{"state": "Gaming"}'

say 'still there'
post "$USER_URL/heartbeat" '{}'

sleep 3

say 'offline'
post "$USER_URL/checkpoints" '{"state": "Offline"}'

say 'the history'
get "$USER_URL/checkpoints"

say 'a part of it'
now=$(date +%s)
get "$USER_URL/checkpoints?from=$((now - 3600))&to=$now&limit=10"

say 'one checkpoint'
id=$(curl -fsS "$USER_URL/checkpoints?limit=1" | sed 's/^\[{"id":\([0-9]*\).*/\1/')
get "$USER_URL/checkpoints/$id"

say 'what, and for how long?'
get "$USER_URL/status"
