//! Callbacks: the settings.

use std::{path::PathBuf, time::Duration};

use super::{
    ConfigError, EventKinds, MASK, YEAR,
    environment::Origin,
    secrets::secret,
    value::{count, flag, hours, seconds},
};
use crate::callbacks::{CallbackPolicy, CallbackUrl, Guard, SigningSecrets};

/// The most rows of a batch.
const BATCH: u32 = 10_000;
/// The longest wait for a receiver, or between two attempts, in seconds.
const PATIENCE: u64 = 3600;

/// Which callbacks there are, and how they are made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Callbacks {
    /// Where all of a room goes at once.
    pub data_url: Option<CallbackUrl>,
    /// Where events of rooms go.
    pub room_event_url: Option<CallbackUrl>,
    /// Where messages go, in batches.
    pub chat_history_url: Option<CallbackUrl>,
    /// Where stays go, in batches.
    pub session_history_url: Option<CallbackUrl>,
    /// Where the state of rooms goes from time to time.
    pub periodic_sync_url: Option<CallbackUrl>,
    /// Where every kind of event goes.
    pub event_url: Option<CallbackUrl>,
    /// The kinds of events that go there.
    pub event_kinds: EventKinds,
    /// How each is delivered.
    pub policy: CallbackPolicy,
    /// The most messages of a batch; never 0.
    pub chat_history_batch_size: u32,
    /// The most stays of a batch; never 0.
    pub session_history_batch_size: u32,
    /// How often new messages are looked for; never zero.
    pub chat_history_interval: Duration,
    /// How often new stays are looked for; never zero.
    pub session_history_interval: Duration,
    /// How often a callback is sent again that was not accepted.
    pub max_retries: u32,
    /// How long after an attempt the next one follows.
    pub retry_delay: Duration,
    /// How often the state of all rooms is sent; `None` for never.
    pub sync_interval: Option<Duration>,
    /// How long events wait for their sink, and lie dead after it has refused them.
    pub outbox_retention: Duration,
}

/// The settings of callbacks.
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CallbackOptions {
    /// Where all of a room goes at once: its figures, messages and stays. An unset URL switches its
    /// callback off. Each begins with https:// and leads to port 443 or 8443 of a public address,
    /// unless CALLBACK_ALLOW_PRIVATE is 1; redirects and proxies are not followed. A URL is shown
    /// up to its host only, for the rest may be a secret.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    data_callback_url: Option<CallbackUrl>,

    /// Where it is told that a room was created or closed, and that a user joined or left.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    room_event_callback_url: Option<CallbackUrl>,

    /// Where the messages of rooms go, in batches.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    chat_history_callback_url: Option<CallbackUrl>,

    /// Where the stays of users in rooms go, in batches.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    session_history_callback_url: Option<CallbackUrl>,

    /// Where the figures of each room go from time to time.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    periodic_sync_callback_url: Option<CallbackUrl>,

    /// Where every kind of event goes, one per request, as {"type","timestamp","data"}.
    #[arg(long, value_name = "URL", value_parser = str::parse::<CallbackUrl>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    event_callback_url: Option<CallbackUrl>,

    /// The kinds of events that go to EVENT_CALLBACK_URL, with commas between them: state_changed,
    /// timeline_corrected, room_created, room_closed, user_joined, user_left, dau_calculated,
    /// event_logged (what apps report), heartbeat (who was seen since the last flush). Without it all
    /// but the last two, also those that later versions bring.
    #[arg(long, value_name = "KINDS", value_parser = str::parse::<EventKinds>, help_heading = "Callbacks",
          verbatim_doc_comment)]
    event_callback_kinds: Option<EventKinds>,

    /// What callbacks are signed with, as Standard Webhooks has it: whsec_ and the base64 of 24 to 64
    /// random bytes. Several with commas between them sign side by side, so that receivers can
    /// change one by one. Without it callbacks are not signed. As a flag it is refused.
    #[arg(long, value_name = "SECRETS", value_parser = str::parse::<SigningSecrets>,
          help_heading = "Callbacks", verbatim_doc_comment)]
    callback_secret: Option<SigningSecrets>,

    /// A file with the text of CALLBACK_SECRET; one line end at its end does not count. Both at once
    /// are refused.
    #[arg(long, value_name = "PATH", help_heading = "Callbacks", verbatim_doc_comment)]
    callback_secret_file: Option<PathBuf>,

    /// 1 lets callbacks go to this machine and to private networks too, with http:// and to any port;
    /// never to link-local addresses.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set,
          help_heading = "Callbacks", verbatim_doc_comment)]
    callback_allow_private: bool,

    /// How many messages a batch has at most, from 1 to 10000.
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = count(1..=BATCH),
          help_heading = "Callbacks", verbatim_doc_comment)]
    chat_history_batch_size: u32,

    /// How many stays a batch has at most, from 1 to 10000.
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = count(1..=BATCH),
          help_heading = "Callbacks", verbatim_doc_comment)]
    session_history_batch_size: u32,

    /// How often new messages are looked for and sent, in seconds, from 1 to a year.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds(1..=YEAR),
          help_heading = "Callbacks", verbatim_doc_comment)]
    chat_history_batch_interval_seconds: Duration,

    /// How often stays that are over are looked for and sent, in seconds, from 1 to a year.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds(1..=YEAR),
          help_heading = "Callbacks", verbatim_doc_comment)]
    session_history_batch_interval_seconds: Duration,

    /// How often a callback is sent again that was not accepted, at most 100.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = count(0..=100),
          help_heading = "Callbacks", verbatim_doc_comment)]
    callback_max_retries: u32,

    /// How long after an attempt the next one follows, in seconds, at most 3600. Longer where the
    /// receiver asks for it, by Retry-After.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds(0..=PATIENCE),
          help_heading = "Callbacks", verbatim_doc_comment)]
    callback_retry_delay_seconds: Duration,

    /// How long an attempt may take, in seconds, from 1 to 3600. Connecting and the head of the
    /// answer have at most 15 seconds of it.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds(1..=PATIENCE),
          help_heading = "Callbacks", verbatim_doc_comment)]
    callback_timeout_seconds: Duration,

    /// How often all rooms are sent to PERIODIC_SYNC_CALLBACK_URL and DATA_CALLBACK_URL, in seconds,
    /// at most a year; 0 = never.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds(0..=YEAR),
          help_heading = "Callbacks", verbatim_doc_comment)]
    sync_interval_seconds: Duration,

    /// How long an event waits for a sink that does not accept it, and is kept after a sink has refused
    /// it, in hours, from 1 to a year.
    #[arg(long, value_name = "HOURS", default_value = "72", value_parser = hours(1..=YEAR / 3600),
          help_heading = "Callbacks", verbatim_doc_comment)]
    outbox_retention_hours: Duration,

    #[arg(skip)]
    secrets: Option<SigningSecrets>,
}

impl CallbackOptions {
    /// The ids of options that must not be among the arguments of a process.
    pub(super) const NO_FLAGS: [&str; 1] = ["callback_secret"];

    /// Takes the secrets from where they stand; `origin` says who has set a variable.
    pub(super) fn read_secrets(&mut self, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        let (value, file) = (self.callback_secret.as_ref(), self.callback_secret_file.as_deref());
        self.secrets = secret("CALLBACK_SECRET", value, file, origin)?;
        Ok(())
    }

    /// Refuses URLs that callbacks may not go to; `origin` says who has set a variable.
    pub(super) fn check(&self, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        let guard = self.guard();
        for (name, url) in self.urls() {
            if let Some(Err(forbidden)) = url.as_ref().map(|url| guard.check(url)) {
                let (origin, reason) = (origin(name), forbidden.to_string());
                return Err(ConfigError::BadValue { name: name.to_owned(), origin, reason });
            }
        }
        Ok(())
    }

    pub(super) fn callbacks(&self) -> Callbacks {
        Callbacks {
            data_url: self.data_callback_url.clone(),
            room_event_url: self.room_event_callback_url.clone(),
            chat_history_url: self.chat_history_callback_url.clone(),
            session_history_url: self.session_history_callback_url.clone(),
            periodic_sync_url: self.periodic_sync_callback_url.clone(),
            event_url: self.event_callback_url.clone(),
            event_kinds: self.event_callback_kinds.clone().unwrap_or_default(),
            policy: CallbackPolicy {
                guard: self.guard(),
                secrets: self.secrets.clone(),
                timeout: self.callback_timeout_seconds,
            },
            chat_history_batch_size: self.chat_history_batch_size,
            session_history_batch_size: self.session_history_batch_size,
            chat_history_interval: self.chat_history_batch_interval_seconds,
            session_history_interval: self.session_history_batch_interval_seconds,
            max_retries: self.callback_max_retries,
            retry_delay: self.callback_retry_delay_seconds,
            sync_interval: Some(self.sync_interval_seconds).filter(|interval| !interval.is_zero()),
            outbox_retention: self.outbox_retention_hours,
        }
    }

    fn guard(&self) -> Guard {
        if self.callback_allow_private { Guard::allowing_private() } else { Guard::default() }
    }

    const fn urls(&self) -> [(&'static str, &Option<CallbackUrl>); 6] {
        [
            ("DATA_CALLBACK_URL", &self.data_callback_url),
            ("ROOM_EVENT_CALLBACK_URL", &self.room_event_callback_url),
            ("CHAT_HISTORY_CALLBACK_URL", &self.chat_history_callback_url),
            ("SESSION_HISTORY_CALLBACK_URL", &self.session_history_callback_url),
            ("PERIODIC_SYNC_CALLBACK_URL", &self.periodic_sync_callback_url),
            ("EVENT_CALLBACK_URL", &self.event_callback_url),
        ]
    }

    /// As [`Config::settings`](super::Config::settings).
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let seconds = |length: Duration| length.as_secs().to_string();
        let secret = self.callback_secret.as_ref().map(|_| MASK.to_owned()).unwrap_or_default();
        let file = self.callback_secret_file.as_ref().map(|path| path.display().to_string());
        let mut settings: Vec<_> = self
            .urls()
            .map(|(name, url)| (name, url.as_ref().map(ToString::to_string).unwrap_or_default()))
            .into();
        settings.extend([
            (
                "EVENT_CALLBACK_KINDS",
                self.event_callback_kinds.as_ref().map(ToString::to_string).unwrap_or_default(),
            ),
            ("CALLBACK_SECRET", secret),
            ("CALLBACK_SECRET_FILE", file.unwrap_or_default()),
            ("CALLBACK_ALLOW_PRIVATE", u8::from(self.callback_allow_private).to_string()),
            ("CHAT_HISTORY_BATCH_SIZE", self.chat_history_batch_size.to_string()),
            ("SESSION_HISTORY_BATCH_SIZE", self.session_history_batch_size.to_string()),
            ("CHAT_HISTORY_BATCH_INTERVAL_SECONDS", seconds(self.chat_history_batch_interval_seconds)),
            ("SESSION_HISTORY_BATCH_INTERVAL_SECONDS", seconds(self.session_history_batch_interval_seconds)),
            ("CALLBACK_MAX_RETRIES", self.callback_max_retries.to_string()),
            ("CALLBACK_RETRY_DELAY_SECONDS", seconds(self.callback_retry_delay_seconds)),
            ("CALLBACK_TIMEOUT_SECONDS", seconds(self.callback_timeout_seconds)),
            ("SYNC_INTERVAL_SECONDS", seconds(self.sync_interval_seconds)),
            ("OUTBOX_RETENTION_HOURS", (self.outbox_retention_hours.as_secs() / 3600).to_string()),
        ]);
        settings
    }
}
