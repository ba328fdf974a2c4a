//! The settings of the server: flags, environment, `.env`, and what is refused.
//!
//! Every option has one name in three spellings: the field `online_window_seconds`, the flag
//! `--online-window-seconds` and the variable `ONLINE_WINDOW_SECONDS`. `presence-server --help` is the reference.

mod access;
mod callbacks;
mod command;
mod environment;
mod error;
mod event_kinds;
mod kafka;
mod log_format;
mod origins;
mod rooms;
mod secrets;
mod store_url;
mod tracking_outbox;
mod value;

use std::{env, ffi::OsString, fmt, net::SocketAddr, time::Duration};

use presence_core::{ActivityPolicy, CountedEvents, Policy, RoomPolicy, Zone};
use presence_outbox::OutboxConfig;
use presence_sqlite::Durability;

use self::{
    access::AccessOptions,
    command::CommandLine,
    value::{address, count, days, flag, hours, millis, seconds},
};
pub use self::{
    callbacks::Callbacks,
    command::{Command, OutboxTask},
    environment::{Environment, Origin},
    error::ConfigError,
    event_kinds::EventKinds,
    kafka::Kafka,
    log_format::LogFormat,
    origins::Origins,
    store_url::{PostgresUrl, StoreUrl, StoreUrlError},
};
use crate::auth::Access;

/// Where the server listens when nothing is said.
const DEFAULT_BIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3000);
/// The longest length that is taken, in seconds: beyond, somebody meant another unit.
const YEAR: u64 = 365 * DAY;
/// A day in seconds.
const DAY: u64 = 24 * 60 * 60;
/// What stands for a secret where settings are shown.
const MASK: &str = "***";
/// The longest that a beat may stay in memory only, in milliseconds.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// How often a store in memory is told of beats where the timeout would allow less.
const LONGEST_FLUSH: Duration = Duration::from_secs(60);

/// How old the figures of a day are before it is counted anew. What comes right after a fold is shown within a minute,
/// though the next one has to be noticed and takes its time: 3 s for a million people.
const REFOLD_AFTER: Duration = Duration::from_secs(50);

/// The settings of one server, parsed and checked against each other.
///
/// ```
/// use presence_server::config::{Command, Config, Environment};
///
/// let env = Environment::new([("HEARTBEAT_TIMEOUT_SECS", "0"), ("BIND_ADDRESS", "")]);
/// let Command::Serve(config) = Config::from_env_and_args(["presence-server"], &env)? else { unreachable!() };
/// assert_eq!(config.bind().to_string(), "127.0.0.1:3000");
/// assert_eq!(config.policy().heartbeat_timeout, None);
/// # Ok::<(), presence_server::config::ConfigError>(())
/// ```
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where the server listens: an IP address and a port; names are not looked up.
    /// Without it LISTEN_ADDR counts, and without that 127.0.0.1:3000.
    /// Whatever is not loopback needs JWT_SECRET and ADMIN_API_KEY, or PRESENCE_INSECURE.
    #[arg(long, value_name = "IP:PORT", value_parser = address, help_heading = "Network", verbatim_doc_comment)]
    bind_address: Option<SocketAddr>,

    /// Another name of BIND_ADDRESS. Both at once are refused where they differ.
    #[arg(long, value_name = "IP:PORT", value_parser = address, help_heading = "Network", verbatim_doc_comment)]
    listen_addr: Option<SocketAddr>,

    /// How many connections are open at once, over all addresses and users; from 1.
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = count(1..=u32::MAX),
          help_heading = "Network", verbatim_doc_comment)]
    max_connections: u32,

    /// How many requests are handled at once; those beyond are answered 503 at once, with
    /// Retry-After. The health routes and /metrics are always answered.
    #[arg(long, value_name = "COUNT", default_value = "1024", value_parser = count(1..=u32::MAX),
          help_heading = "Network", verbatim_doc_comment)]
    max_in_flight: u32,

    /// 1 lets a server without JWT_SECRET or ADMIN_API_KEY listen where other machines reach it:
    /// without JWT_SECRET whoever does can read and write everything. It is said in the log each
    /// minute. With 0 it does not start. What is set is asked for all the same.
    #[arg(long, value_name = "0|1", default_value = "0", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, help_heading = "Network",
          verbatim_doc_comment)]
    presence_insecure: bool,

    #[command(flatten)]
    access: AccessOptions,

    /// Where everything is kept.
    ///   sqlite:PATH      a file, which is created where it does not exist; PATH is taken
    ///                    literally, relative to the working directory
    ///   sqlite::memory:  SQLite, gone with the process
    ///   postgres://USER:PASSWORD@HOST:PORT/DATABASE
    ///                    PostgreSQL 15 or newer, for any number of servers side by side; what is
    ///                    left out comes from PGHOST, PGPASSWORD and so on, or from ~/.pgpass
    /// Without it everything is in memory and gone with the process.
    #[arg(long, value_name = "URL", value_parser = str::parse::<StoreUrl>, help_heading = "Storage",
          verbatim_doc_comment)]
    database_url: Option<StoreUrl>,

    /// When a write is answered. An answered write survives the end of the process in both.
    ///   fsync    after the disk has it: it survives a loss of power
    ///   process  after the operating system has it: a loss of power can take the last writes
    /// It counts for a file and for PostgreSQL.
    #[arg(long, value_name = "WHEN", default_value = "fsync", value_parser = value::durability,
          help_heading = "Storage", verbatim_doc_comment)]
    durability: Durability,

    /// The schema of PostgreSQL that holds the tables. It is created where it does not exist.
    #[arg(long, value_name = "NAME", default_value = "presence", value_parser = value::schema,
          help_heading = "Storage", verbatim_doc_comment)]
    database_schema: String,

    /// How many connections to PostgreSQL this server opens at most; from 2. One is for calls to
    /// sweep (NOTIFY presence_sweep).
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = count(2..=u32::MAX),
          help_heading = "Storage", verbatim_doc_comment)]
    database_max_connections: u32,

    /// Silence after which a user is Offline, in seconds, at most a year; 0 = never.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds(0..=YEAR),
          help_heading = "Presence", verbatim_doc_comment)]
    heartbeat_timeout_secs: Duration,

    /// How often users whose silence has lasted too long are looked for, in seconds, from 1 to
    /// a year. It decides when an Offline is written, not how it is dated: answers are right
    /// before it.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds(1..=YEAR),
          help_heading = "Presence", verbatim_doc_comment)]
    detect_offline_interval_secs: Duration,

    /// How long a heartbeat may stay in memory only, in milliseconds, from 1 to an hour: what a
    /// loss of the process can take. At most a quarter of HEARTBEAT_TIMEOUT_SECS, unless that
    /// is 0. A store in memory is lost too, and is told less often: as rarely as that quarter
    /// allows, up to a minute.
    #[arg(long, value_name = "MILLISECONDS", default_value = "1000", value_parser = millis(1..=HOUR_MS),
          help_heading = "Presence", verbatim_doc_comment)]
    heartbeat_flush_interval_ms: Duration,

    /// How long after a sign of life a user counts as online where a request names no window,
    /// in seconds, from 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds(1..=86_400),
          help_heading = "Presence", verbatim_doc_comment)]
    online_window_seconds: Duration,

    /// The zone whose midnights separate reporting days: an IANA name such as Europe/Berlin.
    /// Its rules are built in; the files of the machine are not read.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = value::zone,
          help_heading = "Presence", verbatim_doc_comment)]
    presence_timezone: Zone,

    /// How often the days that are over are summed up for GET /users/{user_id}/summaries, in
    /// seconds, from 1 to a year. It decides how much an answer costs, not what it says.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds(1..=YEAR),
          help_heading = "Presence", verbatim_doc_comment)]
    summary_interval_secs: Duration,

    /// The name of the events that make their people active, or * for every event.
    #[arg(long, value_name = "NAME", default_value = "app_session_start", value_parser = value::counted_events,
          help_heading = "Active users", verbatim_doc_comment)]
    dau_event_name: CountedEvents,

    /// How late an event may come and still count for its day, in hours, at most a year; later ones
    /// are stored only. A day is final when it is over for so long. 0 = however late, and no day is
    /// ever final.
    #[arg(long, value_name = "HOURS", default_value = "72", value_parser = hours(0..=YEAR / 3600),
          help_heading = "Active users", verbatim_doc_comment)]
    late_window_hours: Duration,

    /// How long events are kept, in days, at most 3650; 0 = for ever. The figures of days stay.
    /// Weeks and months that reach back further cannot be counted any more.
    #[arg(long, value_name = "DAYS", default_value = "0", value_parser = days(0..=3650),
          help_heading = "Active users", verbatim_doc_comment)]
    event_retention_days: Duration,

    /// How often the online count is written down for its history, in seconds, from 1 to a year.
    /// At most one a minute is kept, on whatever number of servers.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds(1..=YEAR),
          help_heading = "Active users", verbatim_doc_comment)]
    snapshot_interval_seconds: Duration,

    /// How long the history of the online count is kept, in days, at most 3650; 0 = for ever.
    #[arg(long, value_name = "DAYS", default_value = "0", value_parser = days(0..=3650),
          help_heading = "Active users", verbatim_doc_comment)]
    snapshot_retention_days: Duration,

    #[command(flatten)]
    rooms: rooms::RoomOptions,

    #[command(flatten)]
    callbacks: callbacks::CallbackOptions,

    #[command(flatten)]
    tracking_outbox: tracking_outbox::TrackingOutboxOptions,

    #[command(flatten)]
    kafka: kafka::KafkaOptions,

    /// What a line of the log looks like: pretty (for people) or json (for machines).
    /// Without it pretty on a terminal, else json.
    #[arg(long, value_name = "FORMAT", value_parser = str::parse::<LogFormat>, help_heading = "Log",
          verbatim_doc_comment)]
    log_format: Option<LogFormat>,

    /// 1 writes a line per request: route, method, status, duration and id, never the path. The
    /// health routes and /metrics are written at debug only. 0 writes none, which is faster
    /// where a request is a single heartbeat.
    #[arg(long, value_name = "0|1", default_value = "1", default_missing_value = "1", value_parser = flag,
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, help_heading = "Log",
          verbatim_doc_comment)]
    access_log: bool,
}

impl Config {
    /// Reads the arguments and the environment of this process, and `.env` of the working directory or of the nearest
    /// directory above it that has one.
    ///
    /// The environment is not changed: what `.env` says is known to the settings only.
    ///
    /// # Errors
    ///
    /// As [`Config::from_env_and_args`]; or `.env` exists and cannot be read. Nothing was opened or written.
    pub fn read() -> Result<Command, ConfigError> {
        // The arguments first, so that `--help` answers also where `.env` is broken.
        let line = CommandLine::parse(env::args_os())?;
        line.resolve(Environment::read)
    }

    /// What `args`, the first of which is the name of the program, and `env` ask for; a flag wins over a variable.
    ///
    /// # Errors
    ///
    /// The [`ConfigError`] names the flag or variable that is in the way, and never shows its value.
    pub fn from_env_and_args<A>(args: A, env: &Environment) -> Result<Command, ConfigError>
    where
        A: IntoIterator<Item: Into<OsString>>,
    {
        CommandLine::parse(args)?.resolve(|| Ok(env.clone()))
    }

    /// Takes the secrets from where they stand.
    fn read_secrets(&mut self, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        self.access.read_secrets(&origin)?;
        self.callbacks.read_secrets(&origin)
    }

    /// Refuses what is wrong only in combination.
    fn check(&self, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        if let (Some(bind), Some(listen)) = (self.bind_address, self.listen_addr)
            && bind != listen
        {
            return Err(ConfigError::TwoAddresses { bind, listen });
        }
        if let Some(limit) = self.slowest_flush()
            && self.heartbeat_flush_interval_ms > limit
        {
            return Err(ConfigError::SlowFlush { timeout: self.heartbeat_timeout_secs, limit });
        }
        if let Some(missing) = self.lacks().filter(|_| !self.presence_insecure) {
            return Err(ConfigError::Unprotected { bind: self.bind(), missing });
        }
        self.kafka.check(self.store().outlives_process(), &origin)?;
        self.callbacks.check(origin)
    }

    /// The address to listen on.
    #[must_use]
    pub fn bind(&self) -> SocketAddr {
        self.bind_address.or(self.listen_addr).unwrap_or(DEFAULT_BIND)
    }

    /// Whether only this machine reaches the server. `::ffff:127.0.0.1` is loopback, the unspecified addresses are
    /// not.
    fn is_loopback(&self) -> bool {
        self.bind().ip().to_canonical().is_loopback()
    }

    /// The secrets that are not set where other machines reach the server.
    fn lacks(&self) -> Option<&'static str> {
        self.access.missing().filter(|_| !self.is_loopback())
    }

    /// Whether other machines reach a server that asks no user who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_loopback() && !self.access.has_tokens()
    }

    /// What follows from the secrets that are not set where other machines reach the server: to be said in the log
    /// each minute.
    #[must_use]
    pub fn exposure(&self) -> Option<&'static str> {
        self.lacks().map(|_| match self.is_open() {
            true => "without JWT_SECRET whoever reaches this address can read and write everything",
            false => "without ADMIN_API_KEY nobody can use what needs a key",
        })
    }

    /// Who may do what.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access.access(self.is_loopback())
    }

    /// The pages of other servers that browsers let ask this one.
    #[must_use]
    pub fn cors_origins(&self) -> Origins {
        self.access.cors_origins()
    }

    /// How many connections may be open at once; never 0.
    #[must_use]
    pub const fn max_connections(&self) -> u32 {
        self.max_connections
    }

    /// How many requests may be handled at once; never 0.
    #[must_use]
    pub const fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// Where everything is kept.
    #[must_use]
    pub fn store(&self) -> StoreUrl {
        self.database_url.clone().unwrap_or_default()
    }

    /// The schema of PostgreSQL that holds the tables.
    #[must_use]
    pub fn database_schema(&self) -> &str {
        &self.database_schema
    }

    /// How many connections to PostgreSQL may be open at once; at least 2.
    #[must_use]
    pub const fn database_max_connections(&self) -> u32 {
        self.database_max_connections
    }

    /// When a write is answered.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// What the rules take from the settings. Where other servers may share the store, silence is concluded two flush
    /// intervals later, for they may hold beats; where one process owns it, no slack is needed.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let is_shared = matches!(self.database_url, Some(StoreUrl::Postgres { .. }));
        let slack =
            if is_shared { self.heartbeat_flush_interval_ms.saturating_mul(2) } else { Duration::ZERO };
        Policy {
            slack,
            heartbeat_timeout: Some(self.heartbeat_timeout_secs).filter(|timeout| !timeout.is_zero()),
            online_window: self.online_window_seconds,
            ..Policy::default()
        }
    }

    /// What active users take from the settings.
    #[must_use]
    pub fn activity_policy(&self) -> ActivityPolicy {
        let unless_zero = |length: Duration| Some(length).filter(|length| !length.is_zero());
        ActivityPolicy {
            counted: self.dau_event_name.clone(),
            zone: self.presence_timezone.clone(),
            late_window: unless_zero(self.late_window_hours),
            refold_after: REFOLD_AFTER,
            keep_events: unless_zero(self.event_retention_days),
            keep_snapshots: unless_zero(self.snapshot_retention_days),
            ..ActivityPolicy::default()
        }
    }

    /// What rooms take from the settings.
    #[must_use]
    pub fn room_policy(&self) -> RoomPolicy {
        self.rooms.policy()
    }

    /// What this server calls itself to others on the same store; `None` for any name.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        self.rooms.node_name()
    }

    /// Whether what members do in rooms counts as heartbeats.
    #[must_use]
    pub const fn room_activity_is_heartbeat(&self) -> bool {
        self.rooms.activity_is_heartbeat()
    }

    /// The directory in which events of apps wait, and what an event in it survives; `None` where they go to the store at
    /// once.
    #[must_use]
    pub fn tracking_outbox(&self) -> Option<(OutboxConfig, &'static str)> {
        let durability = match self.durability {
            Durability::Process => presence_outbox::Durability::Process,
            _ => presence_outbox::Durability::Fsync,
        };
        let config = self.tracking_outbox.config(durability)?;
        Some((config, value::durability_name(self.durability)))
    }

    /// Which callbacks there are, and how they are made.
    #[must_use]
    pub fn callbacks(&self) -> Callbacks {
        self.callbacks.callbacks()
    }

    /// The event stream; `None` where it is off.
    #[must_use]
    pub fn kafka(&self) -> Option<Kafka> {
        self.kafka.kafka()
    }

    /// How often the online count is written down; never zero.
    #[must_use]
    pub const fn snapshot_interval(&self) -> Duration {
        self.snapshot_interval_seconds
    }

    /// How often the silent are looked for; never zero.
    #[must_use]
    pub const fn detect_offline_interval(&self) -> Duration {
        self.detect_offline_interval_secs
    }

    /// How often the store is told of beats; never zero. To tell a store in memory makes nothing safer: that is done as
    /// rarely as the timeout allows, and at least once a minute.
    #[must_use]
    pub fn heartbeat_flush_interval(&self) -> Duration {
        let asked_for = self.heartbeat_flush_interval_ms;
        if self.store().outlives_process() {
            return asked_for;
        }
        let allowed = self.slowest_flush().unwrap_or(LONGEST_FLUSH);
        asked_for.max(allowed.min(LONGEST_FLUSH))
    }

    /// The longest interval of flushes that a timeout leaves; `None` without a timeout.
    fn slowest_flush(&self) -> Option<Duration> {
        let timeout = self.heartbeat_timeout_secs;
        (!timeout.is_zero()).then_some(timeout / 4)
    }

    /// How often days that are over are summed up; never zero.
    #[must_use]
    pub const fn summary_interval(&self) -> Duration {
        self.summary_interval_secs
    }

    /// The zone of reporting days.
    #[must_use]
    pub const fn zone(&self) -> &Zone {
        &self.presence_timezone
    }

    /// What a line of the log looks like, where `is_terminal` says whether somebody watches it.
    #[must_use]
    pub fn log_format(&self, is_terminal: bool) -> LogFormat {
        self.log_format.unwrap_or(if is_terminal { LogFormat::Pretty } else { LogFormat::Json })
    }

    /// Whether each request has a line in the log.
    #[must_use]
    pub const fn access_log(&self) -> bool {
        self.access_log
    }

    /// Every variable with the value that counts, in the order of `--help`; empty is unset.
    ///
    /// It can be shown: a secret is `***`, and no other setting that is accepted holds one.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let bind = self.bind().to_string();
        let mut settings = vec![
            ("BIND_ADDRESS", bind.clone()),
            ("LISTEN_ADDR", bind),
            ("MAX_CONNECTIONS", self.max_connections.to_string()),
            ("MAX_IN_FLIGHT", self.max_in_flight.to_string()),
            ("PRESENCE_INSECURE", u8::from(self.presence_insecure).to_string()),
        ];
        settings.extend(self.access.settings());
        settings.extend([
            ("DATABASE_URL", self.database_url.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("DURABILITY", value::durability_name(self.durability).to_owned()),
            ("DATABASE_SCHEMA", self.database_schema.clone()),
            ("DATABASE_MAX_CONNECTIONS", self.database_max_connections.to_string()),
            ("HEARTBEAT_TIMEOUT_SECS", self.heartbeat_timeout_secs.as_secs().to_string()),
            ("DETECT_OFFLINE_INTERVAL_SECS", self.detect_offline_interval_secs.as_secs().to_string()),
            ("HEARTBEAT_FLUSH_INTERVAL_MS", self.heartbeat_flush_interval_ms.as_millis().to_string()),
            ("ONLINE_WINDOW_SECONDS", self.online_window_seconds.as_secs().to_string()),
            ("PRESENCE_TIMEZONE", self.presence_timezone.name().to_owned()),
            ("SUMMARY_INTERVAL_SECS", self.summary_interval_secs.as_secs().to_string()),
            ("DAU_EVENT_NAME", self.dau_event_name.to_string()),
            ("LATE_WINDOW_HOURS", (self.late_window_hours.as_secs() / 3600).to_string()),
            ("EVENT_RETENTION_DAYS", (self.event_retention_days.as_secs() / DAY).to_string()),
            ("SNAPSHOT_INTERVAL_SECONDS", self.snapshot_interval_seconds.as_secs().to_string()),
            ("SNAPSHOT_RETENTION_DAYS", (self.snapshot_retention_days.as_secs() / DAY).to_string()),
        ]);
        settings.extend(self.rooms.settings());
        settings.extend(self.callbacks.settings());
        settings.extend(self.tracking_outbox.settings());
        settings.extend(self.kafka.settings());
        settings.extend([
            ("LOG_FORMAT", self.log_format.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("ACCESS_LOG", u8::from(self.access_log).to_string()),
        ]);
        settings
    }

    /// What `check-config` prints: `NAME=value`, one per line.
    #[must_use]
    pub fn effective(&self) -> impl fmt::Display {
        let settings = self.settings();
        fmt::from_fn(move |f| settings.iter().try_for_each(|(name, value)| writeln!(f, "{name}={value}")))
    }

    /// One sentence for the log of the start.
    #[must_use]
    pub fn summary(&self) -> impl fmt::Display {
        let (bind, store, zone) = (self.bind(), self.store(), self.presence_timezone.name().to_owned());
        let durability = value::durability_name(self.durability);
        let has_tokens = self.access.has_tokens();
        let (timeout, window) = (self.heartbeat_timeout_secs.as_secs(), self.online_window_seconds.as_secs());
        fmt::from_fn(move |f| {
            write!(f, "listening on {bind}, keeping everything in {store}")?;
            if store.outlives_process() {
                write!(f, " ({durability})")?;
            }
            match timeout {
                0 => write!(f, ", nobody is Offline by silence")?,
                secs => write!(f, ", Offline after {secs} s of silence")?,
            }
            write!(f, ", online for {window} s, days of {zone}")?;
            if has_tokens { f.write_str(", users need a token") } else { Ok(()) }
        })
    }
}
