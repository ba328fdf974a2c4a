//! What the server takes as its configuration, and what it refuses.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use presence_core::{ActivityPolicy, CountedEvents, EventKind, Policy};
use presence_server::callbacks::Guard;
use presence_server::config::{Command, Config, ConfigError, Environment, LogFormat, StoreUrl};
use presence_sqlite::Durability;

type Variables<'a> = &'a [(&'a str, &'a str)];

const SECRET: &str = "canaryjwt-vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6";
const KEY: &str = "canarykey-K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";
const SIGNING: &str = "whsec_canarysigningK7pWx2eRt9yUi4oPa6s";

/// What no callback may go to unless private targets are allowed, and what is no URL.
const OFF_LIMITS: &[&str] = &[
    "hooks.example",
    "ftp://hooks.example/",
    "https://me:you@hooks.example/",
    "https://hooks.example/#x",
    "http://hooks.example/",
    "https://hooks.example:8080/",
    "https://localhost/",
    "https://127.0.0.1/",
    "https://[::ffff:10.0.0.1]/",
    "https://169.254.169.254/",
];

fn command(args: &[&str], env: Variables<'_>) -> Result<Command, ConfigError> {
    let env = Environment::new(env.iter().copied());
    Config::from_env_and_args(["presence-server"].iter().chain(args), &env)
}

fn config(args: &[&str], env: Variables<'_>) -> Config {
    match command(args, env).unwrap_or_else(|error| panic!("{args:?} {env:?}: {error}")) {
        Command::Serve(config) => config,
        other => panic!("{other:?}"),
    }
}

fn refusal(args: &[&str], env: Variables<'_>) -> ConfigError {
    match command(args, env) {
        Ok(taken) => panic!("{args:?} {env:?}: {taken:?}"),
        Err(error) => error,
    }
}

/// The text that `args` print.
fn printed(args: &[&str]) -> String {
    match command(args, &[]).unwrap() {
        Command::Print(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The value that `check-config` shows for `name`.
fn effective(config: &Config, name: &str) -> String {
    let text = config.effective().to_string();
    let prefix = format!("{name}=");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).expect(name).to_owned()
}

#[test]
fn nothing_said_means_the_defaults() {
    let config = config(&[], &[]);
    assert_eq!(config.bind(), "127.0.0.1:3000".parse::<SocketAddr>().unwrap());
    assert_eq!(config.store(), StoreUrl::Memory);
    assert_eq!(config.durability(), Durability::Fsync);
    assert_eq!(config.policy(), Policy::default());
    let (activity, default) = (config.activity_policy(), ActivityPolicy::default());
    assert_eq!((&activity.counted, activity.late_window), (&default.counted, default.late_window));
    assert_eq!((activity.keep_events, activity.keep_snapshots), (None, None));
    assert_eq!(config.snapshot_interval(), Duration::from_secs(60));
    assert_eq!(config.detect_offline_interval(), Duration::from_secs(60));
    assert_eq!(config.max_connections(), 100_000);
    assert_eq!(config.max_in_flight(), 1024);
    assert!(config.access_log());
    assert_eq!(config.zone().name(), "UTC");
    assert_eq!([true, false].map(|tty| config.log_format(tty)), [LogFormat::Pretty, LogFormat::Json]);
    assert!(!config.is_open());
    assert_eq!(config.exposure(), None);
    assert!(config.cors_origins().is_empty());
    let callbacks = config.callbacks();
    for url in [
        &callbacks.data_url,
        &callbacks.room_event_url,
        &callbacks.chat_history_url,
        &callbacks.session_history_url,
        &callbacks.periodic_sync_url,
        &callbacks.event_url,
    ] {
        assert_eq!(*url, None);
    }
    assert_eq!((callbacks.policy.guard, callbacks.policy.secrets.is_none()), (Guard::default(), true));
    let is_usual = |kind: &EventKind| !EventKind::ON_REQUEST.contains(kind);
    assert!(callbacks.event_kinds.iter().eq(EventKind::ALL.into_iter().filter(is_usual)));
    let seconds = Duration::from_secs;
    assert_eq!((callbacks.max_retries, callbacks.retry_delay), (3, seconds(5)));
    assert_eq!((callbacks.policy.timeout, callbacks.sync_interval), (seconds(30), Some(seconds(300))));
    assert_eq!(callbacks.outbox_retention, Duration::from_hours(72));
    assert_eq!((callbacks.chat_history_batch_size, callbacks.chat_history_interval), (1000, seconds(300)));
    assert_eq!(
        (callbacks.session_history_batch_size, callbacks.session_history_interval),
        (500, seconds(600))
    );
    assert_eq!(
        config.summary().to_string(),
        "listening on 127.0.0.1:3000, keeping everything in memory, Offline after 60 s of silence, \
         online for 180 s, days of UTC"
    );
}

#[test]
fn what_is_said_counts() {
    let config = config(
        &[],
        &[
            ("BIND_ADDRESS", "[::1]:8080"),
            ("DATABASE_URL", "sqlite:./presence.db"),
            ("DURABILITY", "process"),
            ("HEARTBEAT_TIMEOUT_SECS", "0"),
            ("ONLINE_WINDOW_SECONDS", "86400"),
            ("DETECT_OFFLINE_INTERVAL_SECS", "1"),
            ("HEARTBEAT_FLUSH_INTERVAL_MS", "250"),
            ("MAX_CONNECTIONS", "1"),
            ("MAX_IN_FLIGHT", "2"),
            ("ACCESS_LOG", "0"),
            ("PRESENCE_TIMEZONE", "europe/berlin"),
            ("SUMMARY_INTERVAL_SECS", "31536000"),
            ("DAU_EVENT_NAME", "*"),
            ("LATE_WINDOW_HOURS", "0"),
            ("EVENT_RETENTION_DAYS", "400"),
            ("SNAPSHOT_INTERVAL_SECONDS", "120"),
            ("SNAPSHOT_RETENTION_DAYS", "3650"),
            ("NODE_NAME", "node-1"),
            ("USER_MESSAGE_INTERVAL_SECS", "0"),
            ("ROOM_ACTIVITY_AS_HEARTBEAT", "1"),
            ("ROOM_RETENTION_DAYS", "30"),
            ("DATA_CALLBACK_URL", "http://127.0.0.1:8080/sync/room"),
            ("ROOM_EVENT_CALLBACK_URL", "http://127.0.0.1:8080/api/room-events"),
            ("CHAT_HISTORY_CALLBACK_URL", "http://receiver/api/chat-history"),
            ("SESSION_HISTORY_CALLBACK_URL", "https://hooks.example/sessions"),
            ("PERIODIC_SYNC_CALLBACK_URL", "https://hooks.example:8443"),
            ("EVENT_CALLBACK_URL", "https://hooks.example/?token=canary"),
            ("EVENT_CALLBACK_KINDS", "user_left,state_changed,user_left"),
            ("CALLBACK_SECRET", SIGNING),
            ("CALLBACK_ALLOW_PRIVATE", "1"),
            ("CHAT_HISTORY_BATCH_SIZE", "10000"),
            ("SESSION_HISTORY_BATCH_SIZE", "1"),
            ("CHAT_HISTORY_BATCH_INTERVAL_SECONDS", "1"),
            ("SESSION_HISTORY_BATCH_INTERVAL_SECONDS", "2"),
            ("CALLBACK_MAX_RETRIES", "0"),
            ("CALLBACK_RETRY_DELAY_SECONDS", "7"),
            ("CALLBACK_TIMEOUT_SECONDS", "10"),
            ("SYNC_INTERVAL_SECONDS", "0"),
            ("OUTBOX_RETENTION_HOURS", "24"),
            ("TRACKING_OUTBOX_ENABLED", "1"),
            ("TRACKING_OUTBOX_DIR", "/var/lib/presence/events"),
            ("TRACKING_OUTBOX_BATCH_SIZE", "10000"),
            ("TRACKING_OUTBOX_FLUSH_INTERVAL_MS", "1"),
            ("TRACKING_OUTBOX_MAX_BYTES", "1"),
            ("TRACKING_OUTBOX_RESERVE_BYTES", "2"),
            ("KAFKA_BROKERS", "kafka-1:9092,kafka-2:9092"),
            ("KAFKA_TOPIC_PREFIX", "staging.presence"),
            ("KAFKA_HEARTBEATS", "1"),
            ("KAFKA_CONSUMER_ENABLED", "1"),
            ("KAFKA_GROUP", "servers"),
            ("LOG_FORMAT", "json"),
            ("JWT_SECRET", SECRET),
            ("JWT_AUDIENCE", "app"),
            ("JWT_ISSUER", "https://id.example"),
            ("JWT_MAX_AGE_SECS", "600"),
            ("ADMIN_API_KEY", KEY),
            ("CORS_ORIGINS", "https://app.example,http://localhost:5173"),
            ("HOME", "/root"),
        ],
    );
    assert_eq!(config.policy().heartbeat_timeout, None);
    let activity = config.activity_policy();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    assert_eq!((activity.counted, activity.zone.name()), (CountedEvents::Every, "Europe/Berlin"));
    assert_eq!((activity.late_window, activity.refold_after), (None, Duration::from_secs(50)));
    assert_eq!((activity.keep_events, activity.keep_snapshots), (days(400), days(3650)));
    assert_eq!(config.snapshot_interval(), Duration::from_secs(120));
    let rooms = config.room_policy();
    assert_eq!((rooms.message_interval, rooms.keep_history), (Duration::ZERO, days(30)));
    assert_eq!((config.node_name(), config.room_activity_is_heartbeat()), (Some("node-1"), true));
    assert_eq!(config.log_format(true), LogFormat::Json);
    let callbacks = config.callbacks();
    for (url, expected) in [
        (&callbacks.data_url, "http://127.0.0.1:8080/sync/room"),
        (&callbacks.room_event_url, "http://127.0.0.1:8080/api/room-events"),
        (&callbacks.chat_history_url, "http://receiver/api/chat-history"),
        (&callbacks.session_history_url, "https://hooks.example/sessions"),
        (&callbacks.periodic_sync_url, "https://hooks.example:8443"),
        (&callbacks.event_url, "https://hooks.example/?token=canary"),
    ] {
        assert!(*url == expected.parse().ok(), "{expected}");
    }
    assert_eq!(
        callbacks.event_kinds.iter().collect::<Vec<_>>(),
        [EventKind::StateChanged, EventKind::UserLeft]
    );
    assert_eq!(callbacks.policy.guard, Guard::allowing_private());
    assert!(callbacks.policy.secrets.is_some());
    let seconds = Duration::from_secs;
    assert_eq!((callbacks.max_retries, callbacks.retry_delay), (0, seconds(7)));
    assert_eq!((callbacks.policy.timeout, callbacks.sync_interval), (seconds(10), None));
    assert_eq!((callbacks.chat_history_batch_size, callbacks.chat_history_interval), (10_000, seconds(1)));
    assert_eq!((callbacks.session_history_batch_size, callbacks.session_history_interval), (1, seconds(2)));
    assert_eq!(
        config.effective().to_string(),
        "BIND_ADDRESS=[::1]:8080\n\
         LISTEN_ADDR=[::1]:8080\n\
         MAX_CONNECTIONS=1\n\
         MAX_IN_FLIGHT=2\n\
         PRESENCE_INSECURE=0\n\
         JWT_SECRET=***\n\
         JWT_SECRET_FILE=\n\
         JWT_AUDIENCE=app\n\
         JWT_ISSUER=https://id.example\n\
         JWT_MAX_AGE_SECS=600\n\
         ADMIN_API_KEY=***\n\
         ADMIN_API_KEY_FILE=\n\
         CORS_ORIGINS=https://app.example,http://localhost:5173\n\
         DATABASE_URL=sqlite:./presence.db\n\
         DURABILITY=process\n\
         DATABASE_SCHEMA=presence\n\
         DATABASE_MAX_CONNECTIONS=10\n\
         HEARTBEAT_TIMEOUT_SECS=0\n\
         DETECT_OFFLINE_INTERVAL_SECS=1\n\
         HEARTBEAT_FLUSH_INTERVAL_MS=250\n\
         ONLINE_WINDOW_SECONDS=86400\n\
         PRESENCE_TIMEZONE=Europe/Berlin\n\
         SUMMARY_INTERVAL_SECS=31536000\n\
         DAU_EVENT_NAME=*\n\
         LATE_WINDOW_HOURS=0\n\
         EVENT_RETENTION_DAYS=400\n\
         SNAPSHOT_INTERVAL_SECONDS=120\n\
         SNAPSHOT_RETENTION_DAYS=3650\n\
         NODE_NAME=node-1\n\
         USER_MESSAGE_INTERVAL_SECS=0\n\
         ROOM_ACTIVITY_AS_HEARTBEAT=1\n\
         ROOM_RETENTION_DAYS=30\n\
         DATA_CALLBACK_URL=http://127.0.0.1:8080/***\n\
         ROOM_EVENT_CALLBACK_URL=http://127.0.0.1:8080/***\n\
         CHAT_HISTORY_CALLBACK_URL=http://receiver/***\n\
         SESSION_HISTORY_CALLBACK_URL=https://hooks.example/***\n\
         PERIODIC_SYNC_CALLBACK_URL=https://hooks.example:8443/\n\
         EVENT_CALLBACK_URL=https://hooks.example/***\n\
         EVENT_CALLBACK_KINDS=state_changed,user_left\n\
         CALLBACK_SECRET=***\n\
         CALLBACK_SECRET_FILE=\n\
         CALLBACK_ALLOW_PRIVATE=1\n\
         CHAT_HISTORY_BATCH_SIZE=10000\n\
         SESSION_HISTORY_BATCH_SIZE=1\n\
         CHAT_HISTORY_BATCH_INTERVAL_SECONDS=1\n\
         SESSION_HISTORY_BATCH_INTERVAL_SECONDS=2\n\
         CALLBACK_MAX_RETRIES=0\n\
         CALLBACK_RETRY_DELAY_SECONDS=7\n\
         CALLBACK_TIMEOUT_SECONDS=10\n\
         SYNC_INTERVAL_SECONDS=0\n\
         OUTBOX_RETENTION_HOURS=24\n\
         TRACKING_OUTBOX_ENABLED=1\n\
         TRACKING_OUTBOX_DIR=/var/lib/presence/events\n\
         TRACKING_OUTBOX_BATCH_SIZE=10000\n\
         TRACKING_OUTBOX_FLUSH_INTERVAL_MS=1\n\
         TRACKING_OUTBOX_MAX_BYTES=1\n\
         TRACKING_OUTBOX_RESERVE_BYTES=2\n\
         KAFKA_ENABLED=0\n\
         KAFKA_BROKERS=kafka-1:9092,kafka-2:9092\n\
         KAFKA_TOPIC_PREFIX=staging.presence\n\
         KAFKA_HEARTBEATS=1\n\
         KAFKA_CONSUMER_ENABLED=1\n\
         KAFKA_GROUP=servers\n\
         LOG_FORMAT=json\n\
         ACCESS_LOG=0\n"
    );
    assert_eq!(
        config.summary().to_string(),
        "listening on [::1]:8080, keeping everything in sqlite:./presence.db (process), \
         nobody is Offline by silence, online for 86400 s, days of Europe/Berlin, users need a token"
    );
}

#[test]
fn the_event_stream_is_off_unless_it_is_asked_for() {
    assert_eq!(config(&[], &[("KAFKA_BROKERS", "kafka:9092")]).kafka(), None);
}

#[test]
#[cfg(not(feature = "kafka"))]
fn a_server_that_was_built_without_kafka_does_not_start_with_it() {
    let error = refusal(&[], &[("KAFKA_ENABLED", "1"), ("KAFKA_BROKERS", "kafka:9092")]);
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("KAFKA_ENABLED"), "{error}");
}

#[test]
#[cfg(feature = "kafka")]
fn the_event_stream_needs_brokers_and_heartbeats_need_a_store() {
    let on = [("KAFKA_ENABLED", "1"), ("KAFKA_BROKERS", "kafka:9092")];
    let kafka = config(&[], &on).kafka().expect("it is on");
    assert_eq!((kafka.brokers.as_str(), kafka.topic_prefix.as_str()), ("kafka:9092", "presence"));
    assert!(!kafka.tells_heartbeats && !kafka.is_consumer && kafka.group.is_none());
    for (env, name) in
        [(&on[..1], "KAFKA_ENABLED"), (&[on[0], on[1], ("KAFKA_HEARTBEATS", "1")], "KAFKA_HEARTBEATS")]
    {
        let error = refusal(&[], env);
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains(name), "{error}");
    }
    let stored = [on[0], on[1], ("KAFKA_HEARTBEATS", "1"), ("DATABASE_URL", "sqlite:presence.db")];
    assert!(config(&[], &stored).kafka().expect("it is on").tells_heartbeats);
}

#[test]
fn what_check_config_prints_is_the_same_configuration_again() {
    for env in
        [&[][..], &[("BIND_ADDRESS", "0.0.0.0:1"), ("PRESENCE_INSECURE", "1"), ("LOG_FORMAT", "pretty")]]
    {
        let first = config(&[], env).effective().to_string();
        let again = Environment::default().beneath(Path::new(".env"), first.as_bytes()).unwrap();
        let Ok(Command::CheckConfig(second)) =
            Config::from_env_and_args(["presence-server", "check-config"], &again)
        else {
            panic!("{first}")
        };
        assert_eq!(second.effective().to_string(), first);
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file = b"ONLINE_WINDOW_SECONDS=3\nONLINE_WINDOW_SECONDS=4\nMAX_CONNECTIONS=\nMAX_CONNECTIONS=9\n";
    for (args, env, expected) in [
        (&["--online-window-seconds=1"][..], Some("2"), "1"),
        (&["--online-window-seconds", "1", "serve"], Some("2"), "1"),
        (&["serve", "--online-window-seconds", "1"], Some("2"), "1"),
        (&["--online-window-seconds=1"], Some("not a number"), "1"),
        (&[], Some("2"), "2"),
        (&["serve"], Some("2"), "2"),
        (&[], Some(""), "3"),
        (&[], None, "3"),
    ] {
        let env = Environment::new(env.map(|value| ("ONLINE_WINDOW_SECONDS", value)));
        let env = env.beneath(Path::new(".env"), file).unwrap();
        let Ok(Command::Serve(config)) =
            Config::from_env_and_args(["presence-server"].iter().chain(args), &env)
        else {
            panic!("{args:?} {env:?}")
        };
        assert_eq!(effective(&config, "ONLINE_WINDOW_SECONDS"), expected, "{args:?}");
        assert_eq!(effective(&config, "MAX_CONNECTIONS"), "9");
        assert_eq!(effective(&config, "DURABILITY"), "fsync");
    }
}

#[test]
fn an_empty_variable_is_unset() {
    let defaults = config(&[], &[]);
    for (name, _) in defaults.settings() {
        let config = config(&[], &[(name, "")]);
        assert_eq!(config.effective().to_string(), defaults.effective().to_string(), "{name}");
    }
    config(&[], &[("PRESENCE_UNKNOWN", "")]);
}

#[test]
fn a_bad_value_is_refused_by_the_name_of_its_variable_and_not_shown() {
    for (name, values) in [
        (
            "BIND_ADDRESS",
            &["localhost:3000", "127.0.0.1", "3000", ":3000", "127.0.0.1:65536", "::1:3000x"][..],
        ),
        ("LISTEN_ADDR", &["localhost:3000", "http://127.0.0.1:3000"]),
        ("MAX_CONNECTIONS", &["0", "-7", "4294967296", "1e5", "100_000", "many"]),
        ("MAX_IN_FLIGHT", &["0", "-1", "4294967296"]),
        ("ACCESS_LOG", &["true", "off", "2"]),
        ("PRESENCE_INSECURE", &["true", "yes", "2", " ", "no"]),
        (
            "DATABASE_URL",
            &[
                "presence.db",
                "sqlite:",
                "sqlite://",
                "sqlite::memory",
                "sqlite:x.db?mode=rwc",
                "sqlite:x\ny",
                "/tmp/p.db",
            ],
        ),
        ("DURABILITY", &["FSYNC", "none", "0"]),
        ("DATABASE_SCHEMA", &["A", "1a", "a-b", "pg_a", "a;b"]),
        ("DATABASE_MAX_CONNECTIONS", &["0", "1", "ten"]),
        ("HEARTBEAT_TIMEOUT_SECS", &["-7", "1.5", "60s", "31536001", "18446744073709551616"]),
        ("DETECT_OFFLINE_INTERVAL_SECS", &["0", "60s", "31536001"]),
        ("HEARTBEAT_FLUSH_INTERVAL_MS", &["0", "3600001", "1s"]),
        ("ONLINE_WINDOW_SECONDS", &["0", "86401", "3m"]),
        ("SUMMARY_INTERVAL_SECS", &["0", "5m", "31536001"]),
        ("DAU_EVENT_NAME", &["**", "app start", "7days", "app-start"]),
        ("LATE_WINDOW_HOURS", &["-1", "72h", "1.5", "8761"]),
        ("EVENT_RETENTION_DAYS", &["-1", "30d", "3651"]),
        ("SNAPSHOT_INTERVAL_SECONDS", &["0", "1m", "31536001"]),
        ("SNAPSHOT_RETENTION_DAYS", &["-1", "ever", "3651"]),
        ("PRESENCE_TIMEZONE", &["Mars/Olympus", "+08:00", "../UTC"]),
        ("LOG_FORMAT", &["xml", "JSON"]),
        ("JWT_SECRET", &["secret", "test", "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA"]),
        ("JWT_AUDIENCE", &[" ", "a\nb"]),
        ("JWT_ISSUER", &[" https://id.example"]),
        ("JWT_MAX_AGE_SECS", &["0", "24h", "31536001"]),
        ("ADMIN_API_KEY", &["your_secret_api_key", "changeme", "sha256:00"]),
        ("DATA_CALLBACK_URL", OFF_LIMITS),
        ("ROOM_EVENT_CALLBACK_URL", OFF_LIMITS),
        ("CHAT_HISTORY_CALLBACK_URL", OFF_LIMITS),
        ("SESSION_HISTORY_CALLBACK_URL", OFF_LIMITS),
        ("PERIODIC_SYNC_CALLBACK_URL", OFF_LIMITS),
        ("EVENT_CALLBACK_URL", OFF_LIMITS),
        ("EVENT_CALLBACK_KINDS", &["*", "UserLeft", "user_left,", "user_left, user_joined", "kick"]),
        ("CALLBACK_SECRET", &["secret", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]),
        ("CALLBACK_ALLOW_PRIVATE", &["true", "2"]),
        ("CHAT_HISTORY_BATCH_SIZE", &["0", "10001", "-1"]),
        ("SESSION_HISTORY_BATCH_SIZE", &["0", "10001", "all"]),
        ("CHAT_HISTORY_BATCH_INTERVAL_SECONDS", &["0", "5m", "31536001"]),
        ("SESSION_HISTORY_BATCH_INTERVAL_SECONDS", &["0", "5m", "31536001"]),
        ("CALLBACK_MAX_RETRIES", &["-1", "101", "3x"]),
        ("CALLBACK_RETRY_DELAY_SECONDS", &["-1", "3601", "5s"]),
        ("CALLBACK_TIMEOUT_SECONDS", &["0", "3601", "30s"]),
        ("SYNC_INTERVAL_SECONDS", &["-1", "31536001", "5m"]),
        ("OUTBOX_RETENTION_HOURS", &["0", "8761", "3d"]),
        ("TRACKING_OUTBOX_ENABLED", &["yes", "2"]),
        ("TRACKING_OUTBOX_BATCH_SIZE", &["0", "10001", "many"]),
        ("TRACKING_OUTBOX_FLUSH_INTERVAL_MS", &["0", "60001", "1s"]),
        ("TRACKING_OUTBOX_MAX_BYTES", &["-1", "1GB"]),
        ("TRACKING_OUTBOX_RESERVE_BYTES", &["-1", "2%"]),
        ("KAFKA_ENABLED", &["true", "2", "no"]),
        ("KAFKA_TOPIC_PREFIX", &["a b", "a/b", "a,b", "\u{e4}"]),
        ("KAFKA_HEARTBEATS", &["yes"]),
        ("KAFKA_CONSUMER_ENABLED", &["yes"]),
        (
            "CORS_ORIGINS",
            &[
                "*",
                "null",
                "https://*.example",
                "app.example",
                "//app.example",
                "https://app.example/",
                "https://app.example/x",
                "https://app.example?x",
                "https://me@app.example",
                "https://App.example",
                "HTTPS://app.example",
                "https://app.example:443",
                "http://app.example:80",
                "https://app.example:",
                "https://app.example:0",
                "https://app.example:65536",
                "https://",
                "https://:8443",
                "ftp://app.example",
                "https://a.example,",
                "https://a.example, https://b.example",
                "https://b\u{fc}cher.example",
            ],
        ),
    ] {
        for value in values {
            let error = refusal(&[], &[(name, value)]);
            assert_eq!(error.exit_code(), 78, "{name}={value}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name} ")), "{text}");
            assert!(text.ends_with(" (set by the environment)"), "{text}");

            let flag = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
            let error = refusal(&[&flag], &[]);
            let text = error.to_string();
            assert_eq!(error.exit_code(), 78, "{text}");
            assert!(text.starts_with(&format!("{name} ")) && text.ends_with(" (set by a flag)"), "{text}");
        }
    }
    for (name, _) in config(&[], &[]).settings() {
        // Every name is one, and every path.
        if matches!(
            name,
            "DATABASE_SCHEMA"
                | "DAU_EVENT_NAME"
                | "JWT_AUDIENCE"
                | "JWT_ISSUER"
                | "KAFKA_BROKERS"
                | "KAFKA_GROUP"
                | "KAFKA_TOPIC_PREFIX"
                | "NODE_NAME"
                | "TRACKING_OUTBOX_DIR"
        ) || name.ends_with("_FILE")
        {
            continue;
        }
        let error = refusal(&[], &[(name, "hunter2canary")]);
        assert!(!format!("{error} {error:?}").contains("hunter2canary"), "{error:?}");
    }
    assert_eq!(
        refusal(&[], &[("ONLINE_WINDOW_SECONDS", "3m")]).to_string(),
        "ONLINE_WINDOW_SECONDS must be a whole number from 1 to 86400 (set by the environment)"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf8_is_a_bad_value() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

    let env = Environment::new([("DATABASE_URL", OsString::from_vec(b"sqlite:\xFF".to_vec()))]);
    let error = Config::from_env_and_args(["presence-server"], &env).unwrap_err();
    assert_eq!(error.to_string(), "DATABASE_URL must be UTF-8 (set by the environment)");
}

#[test]
fn two_addresses_are_one_or_none() {
    for (bind, listen, expected) in [
        ("", "", Some("127.0.0.1:3000")),
        ("127.0.0.1:1", "", Some("127.0.0.1:1")),
        ("", "127.0.0.1:2", Some("127.0.0.1:2")),
        ("127.0.0.1:1", "127.0.0.1:1", Some("127.0.0.1:1")),
        ("[::1]:1", "[0:0:0:0:0:0:0:1]:1", Some("[::1]:1")),
        ("127.0.0.1:1", "127.0.0.1:2", None),
        ("127.0.0.1:1", "[::1]:1", None),
    ] {
        let env = [("BIND_ADDRESS", bind), ("LISTEN_ADDR", listen)];
        match expected {
            Some(expected) => assert_eq!(config(&[], &env).bind().to_string(), expected),
            None => {
                let error = refusal(&[], &env);
                assert_eq!(error.exit_code(), 78);
                assert!(
                    error.to_string().contains("BIND_ADDRESS") && error.to_string().contains("LISTEN_ADDR")
                );
            }
        }
    }
}

#[test]
fn whoever_is_reached_by_others_needs_secrets_or_starts_as_insecure() {
    for (bind, is_open) in [
        ("127.0.0.1:3000", false),
        ("127.255.0.9:3000", false),
        ("[::1]:3000", false),
        ("[::ffff:127.0.0.1]:3000", false),
        ("0.0.0.0:3000", true),
        ("[::]:3000", true),
        ("[::ffff:0.0.0.0]:3000", true),
        ("192.168.1.5:3000", true),
        ("10.0.0.1:3000", true),
        ("[fe80::1]:3000", true),
        ("203.0.113.7:3000", true),
    ] {
        for name in ["BIND_ADDRESS", "LISTEN_ADDR"] {
            assert_eq!(config(&[], &[(name, bind), ("PRESENCE_INSECURE", "1")]).is_open(), is_open, "{bind}");
            assert_eq!(config(&["--presence-insecure"], &[(name, bind)]).is_open(), is_open, "{bind}");
            for insecure in ["", "0"] {
                let env = [(name, bind), ("PRESENCE_INSECURE", insecure)];
                if !is_open {
                    assert!(!config(&[], &env).is_open(), "{bind}");
                    continue;
                }
                for args in [&[][..], &["serve"], &["check-config"], &["--presence-insecure=0"]] {
                    let error = refusal(args, &env);
                    assert_eq!(error.exit_code(), 78, "{bind}");
                    assert!(matches!(error, ConfigError::Unprotected { .. }), "{error}");
                    assert!(error.to_string().contains("PRESENCE_INSECURE"), "{error}");
                }
                let both = [&env[..], &[("JWT_SECRET", SECRET), ("ADMIN_API_KEY", KEY)]].concat();
                assert_eq!(config(&[], &both).exposure(), None, "{bind}");
            }
        }
    }
    // A name says nothing about where it leads.
    assert!(
        refusal(&[], &[("BIND_ADDRESS", "localhost:3000")]).to_string().starts_with("BIND_ADDRESS must be")
    );
}

#[test]
fn eight_configurations_start_or_say_what_they_lack() {
    for (bind, jwt, key, expected) in [
        ("127.0.0.1:3000", "", "", Ok(false)),
        ("127.0.0.1:3000", SECRET, "", Ok(false)),
        ("127.0.0.1:3000", "", KEY, Ok(false)),
        ("127.0.0.1:3000", SECRET, KEY, Ok(false)),
        ("0.0.0.0:3000", "", "", Err("JWT_SECRET and ADMIN_API_KEY must be set")),
        ("0.0.0.0:3000", SECRET, "", Err(", and ADMIN_API_KEY must be set")),
        ("0.0.0.0:3000", "", KEY, Err(", and JWT_SECRET must be set")),
        ("0.0.0.0:3000", SECRET, KEY, Ok(true)),
    ] {
        let env = [("BIND_ADDRESS", bind), ("JWT_SECRET", jwt), ("ADMIN_API_KEY", key)];
        let insecure = [&env[..], &[("PRESENCE_INSECURE", "1")]].concat();
        let insecure = config(&[], &insecure);
        match expected {
            Ok(needs_key) => {
                let config = config(&[], &env);
                assert_eq!(config.access().operations_need_key(), needs_key, "{env:?}");
                assert!(!config.is_open() && config.exposure().is_none(), "{env:?}");
                assert!(insecure.exposure().is_none(), "{env:?}");
            }
            Err(reason) => {
                let error = refusal(&[], &env);
                assert_eq!(error.exit_code(), 78);
                assert!(error.to_string().contains(reason), "{error}");
                assert!(insecure.access().operations_need_key(), "{env:?}");
                assert_eq!(insecure.is_open(), jwt.is_empty(), "{env:?}");
                let exposure = insecure.exposure().expect("something to say each minute");
                assert_eq!(exposure.contains("can read and write everything"), jwt.is_empty(), "{exposure}");
            }
        }
    }
}

#[test]
fn a_secret_is_shown_by_nothing_and_never_a_flag() {
    let env = [("JWT_SECRET", SECRET), ("ADMIN_API_KEY", KEY), ("CALLBACK_SECRET", SIGNING)];
    let config = config(&[], &env);
    for shown in [
        format!("{config:?} {config:#?} {:?}", config.callbacks()),
        format!("{:?}", config.access()),
        config.effective().to_string(),
        config.summary().to_string(),
        format!("{:?}", Environment::new(env)),
    ] {
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert_eq!(effective(&config, "JWT_SECRET"), "***");
    assert_eq!(effective(&config, "ADMIN_API_KEY"), "***");
    assert_eq!(effective(&config, "CALLBACK_SECRET"), "***");
    for (name, value) in env {
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        let both = format!("{flag}={value}");
        for args in [
            &[&both[..]][..],
            &[&flag[..], value],
            &["serve", &both],
            &["check-config", &both],
            &["healthcheck", "--url", "http://db:1/x", &both],
        ] {
            let error = refusal(args, &[]);
            assert_eq!(error.exit_code(), 78);
            let expected = format!(
                "{name} must not be a flag, which others can read; use the variable, or {name}_FILE (set by a flag)"
            );
            assert_eq!(error.to_string(), expected);
        }
        // Misspelt, it is not repeated either.
        let error = refusal(&[&format!("{flag}x={value}")], &[]);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (name, secret, weak) in [
        ("JWT_SECRET", SECRET, "must have at least 32 bytes"),
        ("ADMIN_API_KEY", KEY, "must have at least 32 bytes"),
        ("CALLBACK_SECRET", SIGNING, "must be whsec_ and the base64 of 24 to 64 bytes"),
    ] {
        let weak = format!("names a file whose text {weak}");
        let name_file = format!("{name}_FILE");
        for end in ["", "\n", "\r\n"] {
            let path = file("good", format!("{secret}{end}").as_bytes());
            let config = config(&[], &[(&name_file, &path)]);
            assert_eq!(effective(&config, &name_file), path);
            assert_eq!(effective(&config, name), "");
            // It is the same secret: with the others this server may be reached by others, and signs.
            let mut env = vec![(&name_file[..], &path[..]), ("BIND_ADDRESS", "0.0.0.0:1")];
            let all = [("JWT_SECRET", SECRET), ("ADMIN_API_KEY", KEY), ("CALLBACK_SECRET", SIGNING)];
            env.extend(all.iter().filter(|(other, _)| *other != name));
            let signs = command(&[], &env).map(|command| match command {
                Command::Serve(config) => config.callbacks().policy.secrets.is_some(),
                other => panic!("{other:?}"),
            });
            assert_eq!(signs.map_err(|error| error.to_string()), Ok(true));
            assert!(!format!("{config:?}").contains("canary"));
        }
        let good = file("good", secret.as_bytes());
        let both = refusal(&[], &[(&name_file, &good), (name, secret)]);
        assert_eq!(both.to_string(), format!("{name} and {name_file} are both set: set one of them"));
        assert_eq!(both.exit_code(), 78);
        for (path, reason) in [
            (dir.path().join("missing").to_str().unwrap(), "names a file that does not open"),
            (dir.path().to_str().unwrap(), "names a file that cannot be read as text"),
            (&file("empty", b""), &weak),
            (&file("short", b"canary\n"), &weak),
            (&file("binary", b"canary\xff"), "names a file that cannot be read as text"),
            (&file("long", &vec![b'c'; 65_537]), "names a file that has more than 65536 bytes"),
        ] {
            let error = refusal(&[], &[(&name_file, path)]);
            assert_eq!(error.exit_code(), 78);
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name_file} {reason}")), "{text}");
            assert!(text.ends_with(" (set by the environment)") && !text.contains("canary"), "{text}");
        }
    }
    // Two line ends are one too many for a key, which has no white space in it.
    let path = file("two", format!("{KEY}\n\n").as_bytes());
    assert!(refusal(&[], &[("ADMIN_API_KEY_FILE", &path)]).to_string().contains("visible ASCII"));
}

#[test]
fn a_callback_goes_nowhere_else_than_its_operator_says() {
    for (url, private, reason) in [
        ("http://hooks.example/canary", "0", "must begin with https://"),
        ("https://hooks.example:8080/canary", "", "must lead to port 443 or 8443"),
        ("https://localhost/canary", "0", "must not lead to this machine or a private network"),
        ("https://10.1.2.3/canary", "0", "must not lead to this machine or a private network"),
        (
            "https://169.254.169.254/canary",
            "1",
            "must not lead to a link-local, multicast or reserved address",
        ),
    ] {
        let file = format!("EVENT_CALLBACK_URL={url}\nCALLBACK_ALLOW_PRIVATE={private}\n");
        let env = Environment::default().beneath(Path::new("/srv/.env"), file.as_bytes()).unwrap();
        let error = Config::from_env_and_args(["presence-server"], &env).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let text = error.to_string();
        assert!(text.starts_with(&format!("EVENT_CALLBACK_URL {reason}")), "{text}");
        assert!(text.ends_with(" (set by /srv/.env)") && !text.contains("canary"), "{text}");
    }
    // What follows the host may be a secret: it is shown by nothing.
    let env = [("EVENT_CALLBACK_URL", "https://hooks.example/canary?canary"), ("CALLBACK_ALLOW_PRIVATE", "")];
    let config = config(&[], &env);
    assert_eq!(effective(&config, "EVENT_CALLBACK_URL"), "https://hooks.example/***");
    assert!(!format!("{config:?} {:#?}", config.callbacks()).contains("canary"));
}

#[test]
fn origins_are_taken_as_browsers_send_them() {
    for origins in [
        "https://app.example",
        "http://localhost:5173",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://xn--bcher-kva.example",
        "https://app.example:80,http://app.example:443",
        "https://a.example,https://b.example,https://c.example:8443",
    ] {
        let config = config(&[], &[("CORS_ORIGINS", origins)]);
        assert_eq!(config.cors_origins().to_string(), origins);
        assert_eq!(effective(&config, "CORS_ORIGINS"), origins);
    }
    let many = vec!["https://app.example"; 101].join(",");
    assert!(refusal(&[], &[("CORS_ORIGINS", &many)]).to_string().contains("at most 100"));
}

#[test]
fn beats_are_flushed_four_times_before_silence_is_concluded() {
    for (timeout, flush, is_taken) in [
        ("60", "15000", true),
        ("60", "15001", false),
        ("4", "1000", true),
        ("3", "1000", false),
        ("3", "750", true),
        ("1", "250", true),
        ("1", "251", false),
        ("0", "3600000", true),
    ] {
        let env = [("HEARTBEAT_TIMEOUT_SECS", timeout), ("HEARTBEAT_FLUSH_INTERVAL_MS", flush)];
        if is_taken {
            config(&[], &env);
        } else {
            let error = refusal(&[], &env);
            assert_eq!(error.exit_code(), 78);
            assert!(error.to_string().starts_with("HEARTBEAT_FLUSH_INTERVAL_MS must be at most "), "{error}");
        }
    }
}

#[test]
fn a_variable_that_only_looks_like_ours_is_refused_by_its_name() {
    let error = refusal(
        &[],
        &[("PRESENCE_TIMEZON", "sesame"), ("PRESENCE_PORT", "3000"), ("PRESENCE", "1"), ("PRESENT", "1")],
    );
    assert_eq!(error.exit_code(), 78);
    assert_eq!(
        error.to_string(),
        "unknown: PRESENCE_PORT, PRESENCE_TIMEZON; see presence-server --help for the variables there are"
    );
    let file = Environment::default().beneath(Path::new(".env"), b"PRESENCE_SECURE=1").unwrap();
    assert!(Config::from_env_and_args(["presence-server"], &file).is_err());

    config(
        &[],
        &[
            ("PRESENCE_TIMEZONE", "UTC"),
            ("PRESENCE_INSECURE", "0"),
            ("PRESENCE_TEST_POSTGRES_URL", "postgres:///"),
            ("PRESENCE_LAW_FACTOR", "100"),
            ("PRESENCE_RANGE_DIR", "/tmp"),
            ("PRESENCE_SERVICE_HOST", "10.0.0.11"),
        ],
    );
}

#[test]
fn a_store_is_named_by_its_scheme() {
    for (url, path) in [
        ("sqlite:presence.db", "presence.db"),
        ("sqlite:./a b.db", "./a b.db"),
        ("sqlite:/var/lib/presence.db", "/var/lib/presence.db"),
        ("sqlite://presence.db", "presence.db"),
        ("sqlite:///var/lib/presence.db", "/var/lib/presence.db"),
        ("SQLite:presence.db", "presence.db"),
        ("sqlite::memory:", ":memory:"),
        ("sqlite://:memory:", ":memory:"),
    ] {
        let store = config(&[], &[("DATABASE_URL", url)]).store();
        assert_eq!(store, StoreUrl::Sqlite { path: path.into() }, "{url}");
        assert_eq!(store.outlives_process(), path != ":memory:");
    }
    assert!(!StoreUrl::Memory.outlives_process());
}

#[test]
fn a_password_is_shown_by_nothing() {
    const CANARY: &str = "hunter2canary";
    for (url, scheme) in [
        ("postgres://me:hunter2canary@db:port/presence", None),
        ("postgresql:hunter2canary", None),
        ("POSTGRES:hunter2canary", None),
        ("mysql://root:hunter2canary@127.0.0.1/x", Some("mysql")),
        ("redis://:hunter2canary@127.0.0.1", Some("redis")),
        ("sqlite://me:hunter2canary@db/presence", None),
        ("sqlite:me:hunter2canary@db/presence", None),
        ("sqlite:x.db?key=hunter2canary", None),
        ("//me:hunter2canary@db/presence", None),
        ("hunter2canary", None),
        ("hunter2canary@db:5432/presence", None),
    ] {
        let env = [("DATABASE_URL", url)];
        let flag = format!("--database-url={url}");
        let file = format!("DATABASE_URL='{url}'");
        let file = Environment::default().beneath(Path::new(".env"), file.as_bytes()).unwrap();
        let mut errors = vec![Config::from_env_and_args(["presence-server"], &file).unwrap_err()];
        for command in ["serve", "check-config", "healthcheck"] {
            errors.push(refusal(&[command], &env));
            errors.push(refusal(&[command, "--database-url", url], &[]));
            errors.push(refusal(&[&flag, command], &[]));
        }
        for error in errors {
            assert_eq!(error.exit_code(), 78, "{error}");
            let text = error.to_string();
            assert!(text.starts_with("DATABASE_URL "), "{text}");
            assert!(!text.contains(CANARY) && !format!("{error:?} {error:#?}").contains(CANARY), "{error:?}");
            if let Some(scheme) = scheme {
                assert!(text.contains(&format!("scheme {scheme}, which is not supported")), "{text}");
            }
        }
        assert!(!format!("{:?} {:#?}", Environment::new(env), file).contains(CANARY));
        let parsed = url.parse::<StoreUrl>();
        assert!(!format!("{parsed:?}").contains(CANARY));
    }
}

#[test]
fn the_url_of_a_database_is_shown_without_its_password() {
    for (url, shown) in [
        ("postgres://db/presence", "postgres://db/presence"),
        ("postgresql://me@db:5432/presence", "postgresql://me@db:5432/presence"),
        ("POSTGRES://me:hunter2canary@db/presence", "postgres://me:***@db/presence"),
        (
            "postgres://me:hunter2canary@db/presence?sslmode=require&password=hunter2canary&port=1",
            "postgres://me:***@db/presence?sslmode=require&password=***&port=1",
        ),
    ] {
        let config = config(&[], &[("DATABASE_URL", url)]);
        assert_eq!(effective(&config, "DATABASE_URL"), shown);
        assert!(config.summary().to_string().contains(shown));
        assert!(!format!("{:?} {:?}", config, config.store()).contains("hunter2canary"));
        assert!(config.store().outlives_process());
    }
}

#[test]
fn a_store_in_memory_is_told_of_beats_as_rarely_as_the_timeout_allows_up_to_a_minute() {
    for (store, timeout, asked_for, told_every) in [
        ("", "60", "1000", 15_000),
        ("sqlite::memory:", "60", "1000", 15_000),
        ("", "2", "500", 500),
        ("", "86400", "1000", 60_000),
        ("", "86400", "3600000", 3_600_000),
        ("", "0", "1000", 60_000),
        ("sqlite:presence.db", "60", "1000", 1000),
    ] {
        let env = [
            ("DATABASE_URL", store),
            ("HEARTBEAT_TIMEOUT_SECS", timeout),
            ("HEARTBEAT_FLUSH_INTERVAL_MS", asked_for),
        ];
        let told = config(&[], &env).heartbeat_flush_interval();
        assert_eq!(told, Duration::from_millis(told_every), "{env:?}");
    }
}

#[test]
fn on_a_shared_store_silence_is_concluded_two_flush_intervals_later() {
    let config = config(&[], &[("DATABASE_URL", "postgres://db/x"), ("HEARTBEAT_FLUSH_INTERVAL_MS", "250")]);
    assert_eq!(config.policy().slack, Duration::from_millis(500));
}

#[test]
fn wrong_usage_ends_with_2_and_does_not_repeat_a_url() {
    let url = "postgres://me:hunter2canary@db/presence";
    for args in [
        &["--no-such-flag"][..],
        &["--online-window-seconds"],
        &["--online-window-seconds=1", "--online-window-seconds=2"],
        &["no-such-command"],
        &[url],
        &["serve", url],
        &["--database-url", "sqlite:x.db", url],
        &["--database-ur", url],
        &["--presence-insecure", url],
        &["--help=postgres://me:hunter2canary@db/presence"],
        &["--version=postgres://me:hunter2canary@db/presence"],
        &["--no-such-flag=postgres://me:hunter2canary@db/presence"],
        &["-xpostgres://me:hunter2canary@db/presence"],
        &[url, "postgres://me"],
        &["--database-url", "postgres:", url],
    ] {
        let error = refusal(args, &[]);
        assert_eq!(error.exit_code(), 2, "{args:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{args:?}: {error}");
    }
    // Wrong usage is found before the environment is looked at.
    assert_eq!(refusal(&["--no-such-flag"], &[("LOG_FORMAT", "xml")]).exit_code(), 2);
}

#[test]
fn a_broken_line_of_the_file_is_named_by_its_number_and_not_shown() {
    for (text, line) in [
        ("hunter2canary", 1),
        ("# about\n\nMAX_CONNECTIONS=1\nDATABASE_URL hunter2canary\nLOG_FORMAT=json\n", 4),
        ("MAX_CONNECTIONS=1\r\nDATABASE_URL=hunter2canary with spaces\r\n", 2),
        ("A='one\ntwo'\nB='hunter2canary\nC=1\nD=2\n", 3),
        ("A='one\ntwo'\nhunter2canary\n", 3),
        ("\u{feff}A=1\n=hunter2canary\n", 2),
    ] {
        let error = Environment::default().beneath(Path::new("/srv/.env"), text.as_bytes()).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().starts_with(&format!("/srv/.env, line {line}: ")), "{text:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let long = format!("A={}\nB=1\nhunter2canary \n", "x".repeat(100_000));
    let error = Environment::default().beneath(Path::new(".env"), long.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with(".env, line 3: "), "{error}");
    let error = Environment::default().beneath(Path::new(".env"), b"A=1\nB=\xFF\n").unwrap_err();
    assert!(error.to_string().starts_with(".env, line 2: "), "{error}");
}

#[test]
fn a_bad_value_of_the_file_names_the_file() {
    let text = "\u{feff}export LOG_FORMAT=xml # comment\n";
    let env = Environment::default().beneath(Path::new("/srv/.env"), text.as_bytes()).unwrap();
    let error = Config::from_env_and_args(["presence-server"], &env).unwrap_err();
    assert_eq!(error.to_string(), "LOG_FORMAT must be pretty or json (set by /srv/.env)");
}

#[test]
fn a_health_check_asks_the_address_that_is_configured() {
    for (args, env, expected) in [
        (&["healthcheck"][..], &[][..], "http://127.0.0.1:3000/livez"),
        (&["healthcheck"], &[("LISTEN_ADDR", "[::1]:81")], "http://[::1]:81/livez"),
        (&["healthcheck", "--bind-address=127.0.0.1:82"], &[], "http://127.0.0.1:82/livez"),
        (
            &["healthcheck"],
            &[("BIND_ADDRESS", "0.0.0.0:83"), ("PRESENCE_INSECURE", "1")],
            "http://127.0.0.1:83/livez",
        ),
        (
            &["healthcheck"],
            &[("BIND_ADDRESS", "[::]:84"), ("PRESENCE_INSECURE", "1")],
            "http://[::1]:84/livez",
        ),
        (&["healthcheck", "--url", "http://db:1/x"], &[("LOG_FORMAT", "xml")], "http://db:1/x"),
    ] {
        match command(args, env).unwrap() {
            Command::Healthcheck { url } => assert_eq!(url, expected),
            other => panic!("{other:?}"),
        }
    }
    for url in ["https://db/livez", "db:1", "/livez", "http://"] {
        let error = refusal(&["healthcheck", "--url", url], &[]);
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().starts_with("--url must be"), "{error}");
    }
}

#[test]
fn a_demo_has_defaults_of_its_own_and_takes_what_is_said() {
    let demo = |args: &[&str], env: &[(&str, &str)]| match command(args, env).unwrap() {
        Command::Demo { trace, config } => (trace, config),
        other => panic!("{other:?}"),
    };
    let (trace, config) = demo(&["demo", "day.ndjson"], &[]);
    assert_eq!(trace, Path::new("day.ndjson"));
    for line in [
        "DATABASE_URL=sqlite:presence-demo.db",
        "HEARTBEAT_TIMEOUT_SECS=900",
        "ONLINE_WINDOW_SECONDS=900",
        "LATE_WINDOW_HOURS=0",
    ] {
        assert!(config.effective().to_string().contains(line), "{}", config.effective());
    }
    let said = [("DATABASE_URL", "sqlite:mine.db"), ("ONLINE_WINDOW_SECONDS", "60")];
    let (_, config) = demo(&["demo", "--heartbeat-timeout-secs=30", "day.ndjson"], &said);
    for line in ["DATABASE_URL=sqlite:mine.db", "HEARTBEAT_TIMEOUT_SECS=30", "ONLINE_WINDOW_SECONDS=60"] {
        assert!(config.effective().to_string().contains(line), "{}", config.effective());
    }
}

#[test]
fn help_and_version_are_printed_whatever_the_environment_says() {
    for args in
        [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["--version"], &["help", "check-config"]]
    {
        let Ok(Command::Print(text)) = command(args, &[("LOG_FORMAT", "xml")]) else { panic!("{args:?}") };
        assert_eq!(text, printed(args));
        assert!(!text.contains('\u{1b}'));
    }
    assert_eq!(printed(&["--version"]), format!("presence-server {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_openapi_document_is_printed_whatever_the_environment_says() {
    let Ok(Command::Print(text)) = command(&["openapi"], &[("LOG_FORMAT", "xml")]) else { panic!() };
    assert_eq!(text, presence_server::openapi());
}

/// `PRESENCE_TEST_UPDATE=1` writes the file anew.
#[test]
fn the_help_is_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    let help = printed(&["--help"]);
    for (name, _) in config(&[], &[]).settings() {
        assert!(help.contains(&format!("[env: {name}]")), "{name}");
        assert!(help.contains(&format!("--{}", name.to_lowercase().replace('_', "-"))), "{name}");
    }
    assert!(help.lines().all(|line| line.len() <= 110 && line.trim_end() == line), "{help}");
    if std::env::var_os("PRESENCE_TEST_UPDATE").is_some() {
        fs::write(&path, &help).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(help == kept, "tests/help.txt is not what --help prints:\n{help}");
}

/// `PRESENCE_TEST_UPDATE=1` writes the file anew.
#[test]
fn the_example_of_a_file_has_every_setting_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
    let settings: String =
        config(&[], &[]).settings().into_iter().map(|(name, value)| format!("#{name}={value}\n")).collect();
    let example = format!(
        "# Copy this to .env in the directory where the server starts, and take the # away from what you set.\n\
         # `presence-server --help` says what each means; an empty value is unset.\n\n{settings}"
    );
    if std::env::var_os("PRESENCE_TEST_UPDATE").is_some() {
        fs::write(&path, &example).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(example == kept, ".env.example is not what the settings are:\n{example}");
    // Taken as it is, it says what holds without it.
    let env = Environment::default().beneath(&path, settings.replace('#', "").as_bytes()).unwrap();
    let Ok(Command::Serve(said)) = Config::from_env_and_args(["presence-server"], &env) else { panic!() };
    assert_eq!(said.effective().to_string(), config(&[], &[]).effective().to_string());
}
