# `verify` never writes; `fix` does the writing.

.PHONY: verify test fix bench demo format lint docs deny purity rusqlite-range schemathesis stream kafka setup

verify: format lint docs deny purity rusqlite-range test stream

# Installs what the tests need and the machine lacks, then runs all of them.
test: setup
	cargo test --workspace --locked
	scripts/schemathesis.sh

fix:
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench:
	cargo bench --locked --package presence-benches --bench ratios
	cargo build --release --locked --package presence-server --package presence-benches
	cargo run --release --locked --package presence-benches --bin http
	cargo run --release --locked --package presence-benches --bin postgres
	cargo run --release --locked --package presence-benches --bin events
	cargo build --release --locked --manifest-path benches/beside_socketioxide/Cargo.toml --target-dir target
	npm ci --silent --no-audit --no-fund --prefix benches/beside_node
	ulimit -n 20000 && taskset -c 1 cargo run --release --locked --package presence-benches --bin rooms
	cargo bench --locked --package presence-benches --bench slow_clients
	cargo bench --locked --package presence-benches --bench active_users
	cargo bench --locked --package presence-benches --bench outbox
	cargo bench --locked --package presence-benches --bench relay
	cargo bench --locked --package presence-benches --features kafka --bench kafka

# A real channel's morning, replayed so that it ends now, and a server that answers about it.
demo:
	mkdir -p target
	rm -f target/demo.db target/demo.db-lock target/demo.db-shm target/demo.db-wal
	cargo run --quiet --release --locked --bin presence-server -- demo examples/data/ubuntu-2005-06-27.ndjson --database-url sqlite:target/demo.db

format:
	cargo fmt --all --check

# Then once more what is there only with the feature `kafka`.
lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --all-targets --locked --features kafka -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

deny: setup
	cargo deny --locked check bans licenses sources

purity:
	scripts/purity.sh

rusqlite-range:
	scripts/rusqlite-range.sh

# The running server against its OpenAPI document.
schemathesis: setup
	scripts/schemathesis.sh

# The server and the example with the feature `kafka`; all of `--workspace`, so that little is built again.
stream:
	cargo build --workspace --locked --features kafka --example kafka_timeline
	cargo test --workspace --exclude presence-kafka --locked --features kafka --test config --test kafka --test stream

# The stream against Apache Kafka itself, one node in a throwaway directory: needs Java 17 and Maven.
kafka:
	scripts/kafka.sh run cargo test --locked --package presence-kafka

setup:
	scripts/setup.sh
