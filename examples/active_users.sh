#!/bin/sh
# Who was active, over HTTP: start the server, then run this. It needs curl. Days are those of UTC.
#
#     BASE=http://127.0.0.1:3000 examples/active_users.sh
set -eu

API=${BASE:-http://127.0.0.1:3000}/api/v1
# Both of one instant, also at midnight.
set -- $(date -u '+%s %Y-%m-%d')
now=$1
today=$2

say() { printf '\n# %s\n' "$1"; }
post() { curl -fsS -X POST "$1" -H 'Content-Type: application/json' -d "$2"; echo; }
get() { curl -fsS "$1"; echo; }

# opened EVENT INSTALL USER PROVINCE
opened() {
    printf '{"eventName": "app_session_start", "installId": "%s", "userId": %s, "clientTs": %s, "eventId": "%s", "properties": {"province": "%s"}}' \
        "$2" "$3" "$now" "$now-$1" "$4"
}

say 'alice opens the app before she logs in, and then on her tablet; at a kiosk nobody is known'
batch="{\"events\": [$(opened 1 alices-phone null Hunan), $(opened 2 alices-phone '"alice"' Hunan),
    $(opened 3 alices-tablet '"alice"' Hubei), $(opened 4 kiosk-0042 null Guangdong)]}"
post "$API/analytics/events" "$batch"

say 'the answer was lost, and the app sends it all again'
post "$API/analytics/events" "$batch"

say 'two people: the job counts them within a minute, an administrator at once'
post "$API/analytics/dau/$today/recalculate" ''

say 'what is no event is named by its place, and the others are stored'
post "$API/analytics/events" "{\"events\": [{\"eventName\": \"7 days\"}, $(opened 5 bobs-phone '"bob"' Hunan)]}"
post "$API/analytics/dau/$today/recalculate" ''

say 'day by day, and over the week and the last 30 days: each person once'
get "$API/analytics/dau?startDate=$today&endDate=$today"
get "$API/analytics/active-users?period=week&date=$today"
get "$API/analytics/active-users?period=30d&date=$today"

say 'who is online is another question'
post "$API/presence/heartbeat" "{\"installId\": \"bobs-phone\", \"appVersion\": \"1.2\", \"clientTs\": $now, \"userId\": \"bob\"}"
get "$API/presence/online-count"

say 'and its history is written down each minute'
get "$API/presence/online-history?startTime=${today}T00:00:00Z&endTime=${today}T23:59:59Z&interval=1h"
