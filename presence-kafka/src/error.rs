//! What librdkafka says.

/// Why there is no client (a setting that librdkafka does not take), or why nothing can be read or written now. It names
/// topics and codes, and nothing that a user sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KafkaError(#[from] rdkafka::error::KafkaError);
