//! Events on their way through Kafka: against librdkafka's mock cluster, or the brokers that `KAFKA_BROKERS` names.
//!
//! Brokers of one's own are taken down, restarted and stopped half way by `KAFKA_CONTROL`, a command that takes `down`,
//! `up`, `pause` and `resume`: see `scripts/kafka.sh`.

mod cluster;
mod faults;
mod ingest;
mod memory;
mod reader;
mod sink;
mod world;
