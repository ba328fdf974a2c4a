//! The tracking outbox: the settings.

use std::{path::PathBuf, time::Duration};

use presence_outbox::{Durability, OutboxConfig};

use super::value::{count, flag, millis};

/// The settings of the tracking outbox.
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TrackingOutboxOptions {
    /// 1 keeps what apps report at /api/v1/analytics/events in a directory first, and answers 202: so
    /// it is taken while the store is away, and stored once when that is back.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, help_heading = "Tracking outbox", verbatim_doc_comment)]
    tracking_outbox_enabled: bool,

    /// Where: a directory of this server's own.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "tracking-outbox",
        help_heading = "Tracking outbox",
        verbatim_doc_comment
    )]
    tracking_outbox_dir: PathBuf,

    /// How many events a file holds, and how many go to the store at once, at most 10000.
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = count(1..=10_000),
          help_heading = "Tracking outbox", verbatim_doc_comment)]
    tracking_outbox_batch_size: u32,

    /// How long an event may wait for its file to be full, in milliseconds, at most a minute.
    #[arg(long, value_name = "MILLISECONDS", default_value = "1000", value_parser = millis(1..=60_000),
          help_heading = "Tracking outbox", verbatim_doc_comment)]
    tracking_outbox_flush_interval_ms: Duration,

    /// How many bytes may wait. What comes beyond goes to the store at once, or is answered 503 while
    /// that is away.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "268435456",
        help_heading = "Tracking outbox",
        verbatim_doc_comment
    )]
    tracking_outbox_max_bytes: u64,

    /// How many bytes of the disk stay free: events beyond go the same way.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "67108864",
        help_heading = "Tracking outbox",
        verbatim_doc_comment
    )]
    tracking_outbox_reserve_bytes: u64,
}

impl TrackingOutboxOptions {
    /// The outbox that is asked for.
    pub(super) fn config(&self, durability: Durability) -> Option<OutboxConfig> {
        self.tracking_outbox_enabled.then(|| {
            OutboxConfig::new(&self.tracking_outbox_dir)
                .reserve_bytes(self.tracking_outbox_reserve_bytes)
                .batch_size(self.tracking_outbox_batch_size as usize)
                .flush_interval(self.tracking_outbox_flush_interval_ms)
                .max_bytes(self.tracking_outbox_max_bytes)
                .durability(durability)
        })
    }

    /// As [`Config::settings`](super::Config::settings) has them.
    pub(super) fn settings(&self) -> [(&'static str, String); 6] {
        [
            ("TRACKING_OUTBOX_ENABLED", u8::from(self.tracking_outbox_enabled).to_string()),
            ("TRACKING_OUTBOX_DIR", self.tracking_outbox_dir.display().to_string()),
            ("TRACKING_OUTBOX_BATCH_SIZE", self.tracking_outbox_batch_size.to_string()),
            (
                "TRACKING_OUTBOX_FLUSH_INTERVAL_MS",
                self.tracking_outbox_flush_interval_ms.as_millis().to_string(),
            ),
            ("TRACKING_OUTBOX_MAX_BYTES", self.tracking_outbox_max_bytes.to_string()),
            ("TRACKING_OUTBOX_RESERVE_BYTES", self.tracking_outbox_reserve_bytes.to_string()),
        ]
    }
}
