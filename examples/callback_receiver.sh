#!/bin/sh
# A receiver and a server, a room that is made, joined, talked in and left, and a table of what arrived. It needs curl.
#
#     examples/callback_receiver.sh
#
# It runs from the root of the repository, and builds what it starts; SERVER, RECEIVER and CLIENT name programs to start
# instead. RECEIVER_ADDRESS and SERVER_ADDRESS say where they listen.
set -eu

SERVER=${SERVER:-cargo run --quiet --package presence-server --}
RECEIVER=${RECEIVER:-cargo run --quiet --example callback_receiver --}
CLIENT=${CLIENT:-cargo run --quiet --example room_client --}
RECEIVER_ADDRESS=${RECEIVER_ADDRESS:-127.0.0.1:8080}
SERVER_ADDRESS=${SERVER_ADDRESS:-127.0.0.1:3000}

folder=$(mktemp -d)
: >"$folder/arrived" >"$folder/heard" >"$folder/log"
receiver=
server=
finish() {
    for started in $server $receiver; do kill "$started" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT

say() { printf '\n# %s\n' "$1"; }

# until_lines COUNT TEXT FILE: waits for so many lines: two minutes, in which a program may be built
until_lines() {
    tenths=1200
    while [ "$(grep -c "$2" "$3" || true)" -lt "$1" ]; do
        tenths=$((tenths - 1))
        if [ "$tenths" -le 0 ]; then
            echo "'$2' did not come" >&2
            cat "$folder/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# A secret and a key of this run.
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
CALLBACK_SECRET=whsec_$(random)
ADMIN_API_KEY=$(random)
export CALLBACK_SECRET ADMIN_API_KEY

say 'a receiver'
$RECEIVER --listen "$RECEIVER_ADDRESS" >"$folder/arrived" 2>>"$folder/log" &
receiver=$!
until_lines 1 'listening on' "$folder/arrived"
to=$(sed -n 's/^listening on //p' "$folder/arrived")
curl -fsS "$to/health"; echo

say 'a server that calls it: at once of what happens, and each second of what was said'
DATABASE_URL="sqlite:$folder/presence.db" BIND_ADDRESS="$SERVER_ADDRESS" LOG_FORMAT=json \
    CALLBACK_ALLOW_PRIVATE=1 CHAT_HISTORY_BATCH_INTERVAL_SECONDS=1 SESSION_HISTORY_BATCH_INTERVAL_SECONDS=1 \
    DATA_CALLBACK_URL="$to/sync/room" ROOM_EVENT_CALLBACK_URL="$to/api/room-events" \
    CHAT_HISTORY_CALLBACK_URL="$to/api/chat-history" SESSION_HISTORY_CALLBACK_URL="$to/api/session-history" \
    PERIODIC_SYNC_CALLBACK_URL="$to/api/periodic-sync" SYNC_INTERVAL_SECONDS=0 \
    $SERVER 2>>"$folder/log" &
server=$!
until_lines 1 'listening on http://' "$folder/log"
address=$(sed -n 's/.*listening on http:\/\/\([0-9.:]*\)".*/\1/p' "$folder/log")
manage() { curl -fsS -X "$1" "http://$address/management/$2" -H "X-Api-Key: $ADMIN_API_KEY" -H 'Content-Type: application/json' -d "$3"; echo; }

say 'a room'
made=$(manage POST rooms '{"room_name": "Lobby", "admin_user_ids": ["alice"]}')
echo "$made"
room=$(echo "$made" | sed 's/.*"room_id":"\([^"]*\)".*/\1/')

say 'alice comes, says hello, and goes'
# She is there when she hears herself.
mkfifo "$folder/says"
$CLIENT "ws://$address/ws/rooms/$room" --user alice <"$folder/says" >"$folder/heard" &
exec 3>"$folder/says"
echo hello >&3
until_lines 1 hello "$folder/heard"
exec 3>&-
until_lines 1 UserLeft "$folder/arrived"
until_lines 1 ChatHistoryBatch "$folder/arrived"
until_lines 1 SessionHistoryBatch "$folder/arrived"

say 'an operator calls for a sync, and closes the room'
manage POST sync ''
until_lines 1 PeriodicSync "$folder/arrived"
until_lines 2 RoomData "$folder/arrived"
manage DELETE "rooms/$room" ''
until_lines 1 RoomClosed "$folder/arrived"

say 'the copy'
curl -fsS "$to/rooms/$room"; echo
curl -fsS "$to/stats"; echo

say 'what arrived'
printf '%6s  %-22s %s\n' COUNT ROUTE TYPE
sed -n 's/^\(\/[^ ]*\) \([A-Za-z]*\).*/\1 \2/p' "$folder/arrived" | sort | uniq -c |
    while read -r count route type; do printf '%6s  %-22s %s\n' "$count" "$route" "$type"; done
