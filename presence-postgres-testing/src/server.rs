//! A server of one's own.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{Database, binaries};

/// Makes a cluster, starts it, says where, and waits until its input ends: with the process that holds the other end.
///
/// The locale sorts words, not bytes, and the zone is nobody's, so that whatever relies on either shows.
const LIFE: &str = r#"
DIR=$(mktemp -d /tmp/presence-XXXXXX) || exit 1
trap 'rm -rf "$DIR"' EXIT
trap '' INT TERM
cd "$DIR" || exit 1
"$BIN/initdb" -D data -U postgres -A trust -E UTF8 --no-sync --locale=C.UTF-8 \
    --locale-provider=icu --icu-locale=en-US >log 2>&1 || { cat log; exit 1; }
cat >>data/postgresql.conf <<END
listen_addresses = ''
port = 5432
unix_socket_directories = '$DIR'
max_connections = 300
shared_buffers = 64MB
fsync = off
full_page_writes = off
timezone = 'Asia/Kathmandu'
$SETTINGS
END
"$BIN/pg_ctl" -D data -l log -w start >start 2>&1 </dev/null || { cat log; exit 1; }
echo "ready $DIR"
read -r _
"$BIN/pg_ctl" -D data -m immediate -w stop >/dev/null 2>&1
exit 0
"#;

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// In order: transactions are rolled back, connections are closed.
    Fast,
    /// At once, as in a crash: the next start recovers.
    Immediate,
}

/// A PostgreSQL of one's own, for tests that stop it or change what all databases share. It ends with this value.
#[derive(Debug)]
pub struct Server {
    life: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts a server with an empty cluster.
    ///
    /// # Panics
    ///
    /// PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that flushes what it has written, as a server that is measured must.
    ///
    /// # Panics
    ///
    /// As [`Server::start`].
    #[must_use]
    pub fn durable() -> Self {
        Self::start_with("fsync = on\nfull_page_writes = on\nshared_buffers = 256MB\nmax_wal_size = 4GB")
    }

    /// With these settings behind those of every server, so that they count.
    fn start_with(settings: &str) -> Self {
        let pg_ctl = binaries::find("pg_ctl");
        let mut life = unprivileged(Command::new("sh"));
        life.args(["-c", LIFE]).env("BIN", pg_ctl.parent().expect("a folder")).current_dir("/");
        life.env("SETTINGS", settings);
        life.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Out of the terminal's reach: an interrupt ends the tests, and the end of the tests ends the server.
        let mut life = life.process_group(0).spawn().expect("a shell");
        let mut lines = BufReader::new(life.stdout.take().expect("a pipe"));
        let mut said = String::new();
        lines.read_line(&mut said).expect("a line");
        let Some(folder) = said.trim_end().strip_prefix("ready ") else {
            lines.read_to_string(&mut said).expect("the log");
            panic!("PostgreSQL does not start: {said}");
        };
        Self { life, folder: folder.into() }
    }

    /// An empty database on it.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::on(&format!("postgres:///postgres?user=postgres&port=5432&host={}", self.folder.display()))
    }

    /// The folder of its socket, `.s.PGSQL.5432`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it; its data stays.
    ///
    /// # Panics
    ///
    /// It does not stop.
    pub fn stop(&self, stop: Stop) {
        let mode = match stop {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.control(&["-m", mode, "stop"]);
    }

    /// Starts it again after [`Server::stop`].
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start_again(&self) {
        self.control(&["-l", "log", "start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = unprivileged(Command::new(binaries::find("pg_ctl")));
        command.args(["-D", "data", "-w"]).args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        assert!(command.status().expect("pg_ctl runs").success(), "pg_ctl {arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.life.stdin.take());
        let _ = self.life.wait();
    }
}

/// As the user `postgres` where we are root.
fn unprivileged(mut command: Command) -> Command {
    if let Some((user, group)) = binaries::unprivileged() {
        command.uid(user).gid(group);
    }
    command
}
