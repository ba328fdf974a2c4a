//! What librdkafka says of its connections.

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// Writes to the log what librdkafka says: of addresses and topics, never of messages. What it can mend by itself is for
/// those who look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(facility, "kafka: {message}");
            }
            _ => tracing::debug!(facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => tracing::warn!("kafka: no broker is to be reached"),
            _ => tracing::debug!(%error, "kafka: {reason}"),
        }
    }
}

impl ConsumerContext for Log {}
