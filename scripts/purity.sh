#!/bin/sh
# presence-core alone builds without a clock, a runtime, or a crate that does I/O. Fails when it does not.
set -eu

tree=$(cargo tree --locked --package presence-core --no-default-features --edges normal --prefix none --format '{p} [{f}]')

impure=$(echo "$tree" | grep -E '^(async-std|hyper|libsqlite3-sys|mio|reqwest|rusqlite|smol|socket2|sqlx|tokio)' || true)
if [ -n "$impure" ]; then
    echo "presence-core depends on a runtime or on I/O:" >&2
    echo "$impure" >&2
    exit 1
fi

# chrono without `clock` and `now` has no Utc::now().
clock=$(echo "$tree" | grep -E '^chrono .*\[.*\b(clock|now)\b' || true)
if [ -n "$clock" ]; then
    echo "presence-core builds chrono with its clock: $clock" >&2
    exit 1
fi

cargo check --locked --quiet --package presence-core --no-default-features
echo "presence-core is pure: $(echo "$tree" | sort -u | wc -l) crates, no clock, no runtime, no I/O"
