//! What the command line asks for.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use chrono::NaiveDate;
use clap::{
    Args as _, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ErrorKind},
    parser::ValueSource,
};

use super::{
    Config, ConfigError, Environment, access::AccessOptions, callbacks::CallbackOptions, environment::Origin,
    value,
};

/// What the server is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Serve, until a signal ends it.
    Serve(Config),
    /// Replay a trace, show what became of it, and serve until a signal ends it.
    Demo {
        /// A file as [`Trace`](crate::demo::Trace) reads it.
        trace: PathBuf,
        /// How to serve.
        config: Config,
    },
    /// Count days from the event log, set them beside what is stored, and end with 1 where they differ.
    Audit {
        /// The first day; without it six days before the last.
        first: Option<NaiveDate>,
        /// The last day; without it the first, or today.
        last: Option<NaiveDate>,
        /// Where they are kept.
        config: Config,
    },
    /// Print [`Config::effective`] and end with 0.
    CheckConfig(Config),
    /// Look at the directory of an outbox, or bring back what was put aside in it.
    Outbox {
        /// What to do.
        task: OutboxTask,
        /// The directory.
        dir: PathBuf,
    },
    /// Ask `url`, and end with 0 where it answers with a success.
    Healthcheck {
        /// An `http` URL with a host.
        url: String,
    },
    /// Print the text, help, version or OpenAPI document, on standard output and end with 0.
    Print(String),
}

/// What to do with the directory of an outbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OutboxTask {
    /// Show what is in it.
    List,
    /// Check every line and cursor, and end with 1 where something is damaged.
    Check,
    /// Bring back what was put aside.
    Requeue,
}

/// Who is online, and what they are doing: a presence server.
///
/// Every option is a flag and a variable. A flag wins over the variable, the variable over the
/// file .env of the working directory or above it, and that over the default. An empty variable
/// is unset; an unknown one whose name begins with PRESENCE_ is refused.
/// JWT_SECRET, ADMIN_API_KEY and CALLBACK_SECRET are variables only, or stand in files.
///
/// Exit codes: 0 done, 1 failure, 2 wrong usage, 78 wrong configuration.
#[derive(Debug, clap::Parser)]
#[command(name = "presence-server", version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Run the server; what is done where no command is given.
    Serve,
    /// Print the configuration that counts, or say what is wrong
    ///
    /// One NAME=value per line, which could be a .env itself; an empty value is unset, and a
    /// secret is shown as ***. Ends with 0, or with 78 where the server would not start. Nothing
    /// is opened but the files of secrets.
    #[command(verbatim_doc_comment)]
    CheckConfig,
    /// Replay a trace so that it ends now, show what became of it, and serve it
    ///
    /// A trace is a file with one JSON event a line:
    ///   {"at": "2005-06-27T09:19:00Z", "user": "u1", "kind": "join" | "message" | "leave"}
    /// The store must be new to its users. Without other settings it is the file presence-demo.db,
    /// HEARTBEAT_TIMEOUT_SECS and ONLINE_WINDOW_SECONDS are 900, for people chat slower than phones
    /// beat, and LATE_WINDOW_HOURS is 0.
    #[command(verbatim_doc_comment)]
    Demo {
        /// The file.
        trace: PathBuf,
    },
    /// Count days from the event log, and set them beside what is stored
    ///
    /// A line for each day, and for each region that differs. Ends with 0 where all agree, or only
    /// wait to be counted anew, and with 1 where one differs: somebody else wrote to the store, or
    /// DAU_EVENT_NAME, PRESENCE_TIMEZONE or LATE_WINDOW_HOURS were changed since. Nothing is
    /// written. A file is locked while a server runs on it; PostgreSQL can be asked at any time.
    #[command(verbatim_doc_comment)]
    Audit {
        /// The first day, YYYY-MM-DD. Without it the seven days up to today are counted.
        #[arg(value_parser = value::day)]
        first: Option<NaiveDate>,
        /// The last day. Without it only the first is counted.
        #[arg(value_parser = value::day)]
        last: Option<NaiveDate>,
    },
    /// Look at the directory of an outbox, or bring back what was put aside in it
    #[command(subcommand)]
    Outbox(OfOutbox),
    /// Print what the server can be asked: OpenAPI 3.1, as JSON.
    Openapi,
    /// Ask a running server whether it lives, and end with 0 where it does.
    Healthcheck {
        /// What to ask. Default: /livez at the address that the configuration names.
        #[arg(long, value_parser = value::http_url)]
        url: Option<String>,
    },
}

#[derive(Debug, clap::Subcommand)]
enum OfOutbox {
    /// Show each file: its events, how far each sink has come, and what was refused, and why
    ///
    /// Times are UTC: when a file was sealed, and the least and the greatest occurred_at_micros of
    /// its events, where they have one. Nothing is changed, and a server may run on it meanwhile.
    /// Ends with 0, or with 1 where it cannot be read.
    #[command(verbatim_doc_comment)]
    Ls(OfDirectory),
    /// Check every line, checksum and cursor, and say what is wrong
    ///
    /// Nothing is changed. Ends with 0 where nothing is damaged; what a crash leaves, and the next
    /// start clears away, is said and is no damage. Ends with 1 otherwise.
    #[command(verbatim_doc_comment)]
    Fsck(OfDirectory),
    /// Bring back dead letters, and lines of corrupt files that can be read by now
    ///
    /// They wait to be delivered again, behind all others; what cannot be read stays where it is.
    /// A dead letter goes to the sink that refused it and to no other. While a server runs on the
    /// directory this ends with 1, names its process and changes nothing. Ended half way, it can be
    /// run again: nothing is lost, and nothing comes back twice that was not delivered meanwhile.
    #[command(verbatim_doc_comment)]
    Requeue(OfDirectory),
}

#[derive(Debug, clap::Args)]
struct OfDirectory {
    /// The directory.
    #[arg(long)]
    dir: PathBuf,
}

impl From<OfOutbox> for Command {
    fn from(task: OfOutbox) -> Self {
        let (task, OfDirectory { dir }) = match task {
            OfOutbox::Ls(of) => (OutboxTask::List, of),
            OfOutbox::Fsck(of) => (OutboxTask::Check, of),
            OfOutbox::Requeue(of) => (OutboxTask::Requeue, of),
        };
        Self::Outbox { task, dir }
    }
}

/// Arguments that are in order by themselves.
#[derive(Debug)]
pub(super) enum CommandLine {
    /// They say everything.
    Whole(Box<Command>),
    /// They are to be read again together with the variables of the options in `unset`, and those with `defaults`.
    Partial { args: Vec<OsString>, unset: Vec<String>, defaults: &'static [(&'static str, &'static str)] },
}

/// What a demo does where nobody says otherwise, by the id of the option.
const OF_DEMO: &[(&str, &str)] = &[
    ("database_url", "sqlite:presence-demo.db"),
    ("heartbeat_timeout_secs", "900"),
    ("online_window_seconds", "900"),
    // A trace is told long after it happened.
    ("late_window_hours", "0"),
];

impl CommandLine {
    /// Reads the arguments alone.
    pub(super) fn parse<A>(args: A) -> Result<Self, ConfigError>
    where
        A: IntoIterator<Item: Into<OsString>>,
    {
        let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        if args.is_empty() {
            args.push("presence-server".into());
        }
        let matches = match command().try_get_matches_from(&args) {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => {
                return Ok(Self::Whole(Box::new(Command::Print(error.render().to_string()))));
            }
            Err(error) => return Err(refusal(&error, &args, |_| Origin::Flag)),
        };
        let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let mut secrets = AccessOptions::NO_FLAGS.into_iter().chain(CallbackOptions::NO_FLAGS);
        if let Some(id) = secrets.find(|id| is_given(id)) {
            let name = variable(id);
            let reason =
                format!("must not be a flag, which others can read; use the variable, or {name}_FILE");
            return Err(ConfigError::BadValue { name, origin: Origin::Flag, reason });
        }
        let task = Cli::from_arg_matches(&matches).ok().and_then(|cli| cli.task);
        let defaults = match task {
            // Whatever the variables say, they say nothing about another server, nor about the routes.
            Some(Task::Healthcheck { url: Some(url) }) => {
                return Ok(Self::Whole(Box::new(Command::Healthcheck { url })));
            }
            Some(Task::Openapi) => {
                return Ok(Self::Whole(Box::new(Command::Print(crate::openapi().to_owned()))));
            }
            // Whose directory it is makes no difference.
            Some(Task::Outbox(task)) => return Ok(Self::Whole(Box::new(task.into()))),
            Some(Task::Demo { .. }) => OF_DEMO,
            _ => &[],
        };
        Ok(Self::Partial { unset: options().filter(|id| !is_given(id)).collect(), args, defaults })
    }

    /// Adds the variables, and checks the whole.
    ///
    /// clap could read variables itself (`Arg::env`), but only those of the process, which a test cannot give without
    /// `unsafe`; it takes an empty one as a value; and its message shows the value. So variables become flags in
    /// front of the others, only for options that no flag has set. `env` is not asked where it does not matter.
    pub(super) fn resolve(
        self,
        env: impl FnOnce() -> Result<Environment, ConfigError>,
    ) -> Result<Command, ConfigError> {
        let (mut args, unset, defaults) = match self {
            Self::Whole(command) => return Ok(*command),
            Self::Partial { args, unset, defaults } => (args, unset, defaults),
        };
        let env = env()?;
        let known: Vec<String> = options().map(|id| variable(&id)).collect();
        env.refuse_unknown(&known)?;
        let mut flags = Vec::new();
        for id in unset {
            let default = defaults.iter().find(|(of, _)| *of == id).map(|(_, value)| *value);
            if let Some(value) = env.text(&variable(&id))?.or(default) {
                flags.push(OsString::from(format!("--{}={value}", id.replace('_', "-"))));
            }
        }
        args.splice(1..1, flags);
        let mut cli = command()
            .try_get_matches_from(&args)
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .map_err(|error| refusal(&error, &args, |name| env.origin(name)))?;
        cli.config.read_secrets(|name| env.origin(name))?;
        cli.config.check(|name| env.origin(name))?;
        Ok(match cli.task {
            None | Some(Task::Serve) => Command::Serve(cli.config),
            Some(Task::Demo { trace }) => Command::Demo { trace, config: cli.config },
            Some(Task::Audit { first, last }) => {
                if first.zip(last).is_some_and(|(first, last)| last < first) {
                    return Err(ConfigError::Usage(
                        "the last day of an audit lies before the first".to_owned(),
                    ));
                }
                Command::Audit { first, last, config: cli.config }
            }
            Some(Task::CheckConfig) => Command::CheckConfig(cli.config),
            Some(Task::Outbox(task)) => task.into(),
            Some(Task::Openapi) => Command::Print(crate::openapi().to_owned()),
            Some(Task::Healthcheck { url }) => {
                Command::Healthcheck { url: url.unwrap_or_else(|| liveness(cli.config.bind())) }
            }
        })
    }
}

/// The command of clap: options are accepted before and after the subcommand, and their help names the variable.
fn command() -> clap::Command {
    Cli::command().mut_args(|arg| {
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut notes = format!("[env: {}]", variable(arg.get_id().as_str()));
        for default in arg.get_default_values() {
            notes.push_str(&format!(" [default: {}]", default.display()));
        }
        // The same text for -h and --help: a shorter one would be a second reference.
        arg.global(true).hide_default_value(true).help(format!("{help}\n{notes}")).long_help(None::<&str>)
    })
}

/// The ids of all options that have a variable.
fn options() -> impl Iterator<Item = String> {
    let command = Config::augment_args(clap::Command::new("options"));
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    ids.into_iter()
}

/// The variable of the option `id`.
fn variable(id: &str) -> String {
    id.replace('-', "_").to_ascii_uppercase()
}

/// What to say about arguments that clap refuses; values are left out.
fn refusal(error: &clap::Error, args: &[OsString], origin: impl Fn(&str) -> Origin) -> ConfigError {
    use std::error::Error as _;

    let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if let (ErrorKind::ValueValidation, Some(reason)) = (error.kind(), error.source()) {
        // What has a place and no name: `[FIRST]`.
        if let Some(name) = flag.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return ConfigError::Usage(format!("{name} {reason}"));
        }
        // `--name <VALUE>` or `--name[=<VALUE>]`.
        let id = flag.trim_start_matches('-').split([' ', '[', '=']).next().unwrap_or_default();
        let variable = variable(id);
        return match options().any(|id| self::variable(&id) == variable) {
            true => ConfigError::BadValue {
                origin: origin(&variable),
                name: variable,
                reason: reason.to_string(),
            },
            false => ConfigError::BadValue {
                name: format!("--{id}"),
                reason: reason.to_string(),
                origin: Origin::Flag,
            },
        };
    }
    // Whoever prints errors says that it is one.
    let text = error.render().to_string();
    let mut text = text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned();
    // clap repeats a stray argument, or a value where none belongs, which may be the URL of a database. The longest
    // first, so that no part of it stays because another argument is its beginning.
    let mut strays: Vec<String> = args
        .iter()
        .skip(1)
        .map(|arg| arg.to_string_lossy())
        .flat_map(|arg| [arg.split_once('=').map(|(_, value)| value.to_owned()), Some(arg.into_owned())])
        .flatten()
        .filter(|arg| arg.contains(['@', ':']))
        .collect();
    strays.sort_by_key(|stray| std::cmp::Reverse(stray.len()));
    for stray in strays {
        text = text.replace(&stray, "…");
    }
    ConfigError::Usage(text)
}

/// Where a server that listens on `bind` says that it lives. The unspecified addresses can be listened on, but not
/// everywhere asked.
fn liveness(bind: SocketAddr) -> String {
    let ip = match bind.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}/livez", SocketAddr::new(ip, bind.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn settings_name_every_option_in_the_order_of_the_help() {
        let line = CommandLine::parse(["presence-server"]).unwrap();
        let Ok(Command::Serve(config)) = line.resolve(|| Ok(Environment::default())) else { panic!() };
        let settings: Vec<String> = config.settings().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(settings, options().map(|id| variable(&id)).collect::<Vec<_>>());
    }
}
