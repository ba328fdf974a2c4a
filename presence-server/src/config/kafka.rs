//! The event stream: the settings.

use super::{
    ConfigError,
    environment::Origin,
    value::{flag, name, topic_prefix},
};

/// Whether this server was built with Kafka.
const IS_BUILT: bool = cfg!(feature = "kafka");

/// Where events go to, and where some come from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Kafka {
    /// Brokers to begin with: `HOST:PORT`, with commas between them.
    pub brokers: String,
    /// What the names of all topics begin with.
    pub topic_prefix: String,
    /// Whether heartbeats are told.
    pub tells_heartbeats: bool,
    /// Whether client events and heartbeats are taken from topics.
    pub is_consumer: bool,
    /// The group of servers that share those topics; `None` for the prefix.
    pub group: Option<String>,
}

/// The settings of the event stream.
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct KafkaOptions {
    /// 1 brings every event to Kafka, at least once, those of one user in order. It needs
    /// KAFKA_BROKERS, and a server that was built with the feature kafka.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, help_heading = "Kafka",
          verbatim_doc_comment)]
    kafka_enabled: bool,

    /// Brokers to begin with, as HOST:PORT with commas between them. They name the others.
    #[arg(long, value_name = "BROKERS", value_parser = name, help_heading = "Kafka", verbatim_doc_comment)]
    kafka_brokers: Option<String>,

    /// What the names of all topics begin with, as in presence.events: 1 to 200 letters, digits,
    /// '.', '_' and '-'.
    #[arg(long, value_name = "PREFIX", default_value = "presence", value_parser = topic_prefix,
          help_heading = "Kafka", verbatim_doc_comment)]
    kafka_topic_prefix: String,

    /// 1 tells on the topic .heartbeat who was seen since the last flush: one event for each user or
    /// install. It needs a DATABASE_URL.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, help_heading = "Kafka",
          verbatim_doc_comment)]
    kafka_heartbeats: bool,

    /// 1 takes what apps report from the topics .in.events and .in.heartbeats too. What is refused goes
    /// to .in.dead. Whoever may write to these topics may write about every user.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, help_heading = "Kafka",
          verbatim_doc_comment)]
    kafka_consumer_enabled: bool,

    /// The group of servers that share the topics that come in. Without it KAFKA_TOPIC_PREFIX.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Kafka", verbatim_doc_comment)]
    kafka_group: Option<String>,
}

impl KafkaOptions {
    /// Refuses a stream that cannot be; `origin` says who has set a variable.
    pub(super) fn check(
        &self,
        outlives_process: bool,
        origin: impl Fn(&str) -> Origin,
    ) -> Result<(), ConfigError> {
        let refused = |name: &str, reason: &str| {
            let (name, reason) = (name.to_owned(), reason.to_owned());
            Err(ConfigError::BadValue { origin: origin(&name), name, reason })
        };
        if !self.kafka_enabled {
            return Ok(());
        }
        if !IS_BUILT {
            return refused("KAFKA_ENABLED", "this server was built without Kafka, the feature kafka");
        }
        if self.kafka_brokers.is_none() {
            return refused("KAFKA_ENABLED", "needs KAFKA_BROKERS");
        }
        if self.kafka_heartbeats && !outlives_process {
            return refused(
                "KAFKA_HEARTBEATS",
                "needs a DATABASE_URL: heartbeats are told when they are stored",
            );
        }
        Ok(())
    }

    pub(super) fn kafka(&self) -> Option<Kafka> {
        let brokers = self.kafka_brokers.clone().filter(|_| self.kafka_enabled)?;
        Some(Kafka {
            brokers,
            topic_prefix: self.kafka_topic_prefix.clone(),
            tells_heartbeats: self.kafka_heartbeats,
            is_consumer: self.kafka_consumer_enabled,
            group: self.kafka_group.clone(),
        })
    }

    /// As [`Config::settings`](super::Config::settings).
    pub(super) fn settings(&self) -> [(&'static str, String); 6] {
        [
            ("KAFKA_ENABLED", u8::from(self.kafka_enabled).to_string()),
            ("KAFKA_BROKERS", self.kafka_brokers.clone().unwrap_or_default()),
            ("KAFKA_TOPIC_PREFIX", self.kafka_topic_prefix.clone()),
            ("KAFKA_HEARTBEATS", u8::from(self.kafka_heartbeats).to_string()),
            ("KAFKA_CONSUMER_ENABLED", u8::from(self.kafka_consumer_enabled).to_string()),
            ("KAFKA_GROUP", self.kafka_group.clone().unwrap_or_default()),
        ]
    }
}
