//! Rooms: the settings.

use std::time::Duration;

use presence_core::RoomPolicy;

use super::{
    YEAR,
    value::{days, flag, name, seconds},
};

/// The seconds of a day.
const DAY: u64 = 86_400;

/// The settings of rooms.
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RoomOptions {
    /// What this server calls itself to others on the same PostgreSQL: a room lives on one of
    /// them. Two at a time must not have the same name. One that is started again under its name
    /// has its rooms back at once, and otherwise after 15 seconds. Without it a new name each time.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Rooms", verbatim_doc_comment)]
    node_name: Option<String>,

    /// How long a member waits between two messages, in seconds, at most a day; 0 = not at all.
    /// Administrators of a room do not wait.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds(0..=DAY),
          help_heading = "Rooms", verbatim_doc_comment)]
    user_message_interval_secs: Duration,

    /// 1 makes joining, speaking and pinging in a room heartbeats of the user: at most one a second.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, help_heading = "Rooms", verbatim_doc_comment)]
    room_activity_as_heartbeat: bool,

    /// How long messages, stays and what administrators did are kept, in days, at most 3650; 0 = for
    /// ever. A closed room goes with the last of them.
    #[arg(long, value_name = "DAYS", default_value = "0", value_parser = days(0..=3650),
          help_heading = "Rooms", verbatim_doc_comment)]
    room_retention_days: Duration,
}

const _: () = assert!(DAY <= YEAR);

impl RoomOptions {
    pub(super) fn policy(&self) -> RoomPolicy {
        RoomPolicy {
            message_interval: self.user_message_interval_secs,
            keep_history: Some(self.room_retention_days).filter(|age| !age.is_zero()),
            ..RoomPolicy::default()
        }
    }

    pub(super) fn node_name(&self) -> Option<&str> {
        self.node_name.as_deref()
    }

    pub(super) const fn activity_is_heartbeat(&self) -> bool {
        self.room_activity_as_heartbeat
    }

    /// As [`Config::settings`](super::Config::settings) has them.
    pub(super) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("NODE_NAME", self.node_name.clone().unwrap_or_default()),
            ("USER_MESSAGE_INTERVAL_SECS", self.user_message_interval_secs.as_secs().to_string()),
            ("ROOM_ACTIVITY_AS_HEARTBEAT", u8::from(self.room_activity_as_heartbeat).to_string()),
            ("ROOM_RETENTION_DAYS", (self.room_retention_days.as_secs() / DAY).to_string()),
        ]
    }
}
