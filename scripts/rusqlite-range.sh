#!/bin/sh
# presence-sqlite declares a range of rusqlite, because an application may be held to its lower end by its own sqlx. The
# lock file has the upper end; this builds and tests the lower one, in a workspace of its own that leaves this one as it
# is.
set -eu

oldest=0.39.0
root=$(pwd)
copy=${PRESENCE_RANGE_DIR:-$root/target/rusqlite-range}
mkdir -p "$copy"
for part in presence-core presence-sqlite examples/data; do
    mkdir -p "$copy/$(dirname "$part")"
    rm -rf "${copy:?}/$part"
    cp -R "$root/$part" "$copy/$part"
done
cp "$root/Cargo.lock" "$root/clippy.toml" "$root/rust-toolchain.toml" "$copy/"
sed -e 's/^members = .*/members = ["presence-core", "presence-sqlite"]/' \
    -e "s/^rusqlite = .*/rusqlite = { version = \"=$oldest\", default-features = false, features = [\"cache\"] }/" \
    "$root/Cargo.toml" >"$copy/Cargo.toml"

cd "$copy"
cargo tree --quiet --package presence-sqlite --depth 1 --edges normal | grep "rusqlite v$oldest"
cargo test --quiet --package presence-sqlite
echo "presence-sqlite passes with rusqlite $oldest"
