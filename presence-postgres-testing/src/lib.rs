//! A throwaway PostgreSQL for the tests of this workspace: one server per test process, one database per test.
//!
//! The server is started from the installed binaries, in a temporary directory and on a Unix socket only, as the user
//! `postgres` where the tests run as root. It ends with the process, however that ends: a shell waits at the other end
//! of a pipe. With `PRESENCE_TEST_POSTGRES_URL` set, databases are made on that server instead, and dropped after use.
//!
//! A missing binary fails the test, and says what to install: nothing is skipped.

mod binaries;
mod proxy;
mod server;

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub use crate::{
    proxy::{Cut, Proxy},
    server::{Server, Stop},
};

/// Names a server that runs already, as `postgres://user:password@host:port/database`.
const URL: &str = "PRESENCE_TEST_POSTGRES_URL";

/// An empty database of its own; it is dropped with this value.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
    admin: String,
}

impl Database {
    /// An empty database on the server that the tests of this process share.
    ///
    /// # Panics
    ///
    /// There is no server, and none could be started.
    #[must_use]
    pub fn create() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        match std::env::var(URL) {
            Ok(admin) => Self::on(&admin),
            Err(_) => SERVER.get_or_init(Server::start).database(),
        }
    }

    /// An empty database on the server whose database `admin` is.
    pub(crate) fn on(admin: &str) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("presence_test_{}_{number}", std::process::id());
        run(admin, &["-c", &format!("CREATE DATABASE {name}")]);
        Self { url: with_database(admin, &name), name, admin: admin.to_owned() }
    }

    /// Where it is: `postgres://...`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in it with `psql`, as an administrator who comes from outside, and gives what it prints: a line per
    /// row, `|` between columns.
    ///
    /// # Panics
    ///
    /// The SQL fails.
    pub fn psql(&self, sql: &str) -> String {
        run(&self.url, &["-c", sql])
    }

    /// Runs `pgbench` on it with this script, and gives what it prints.
    ///
    /// # Panics
    ///
    /// It fails.
    pub fn pgbench(&self, script: &str, arguments: &[&str]) -> String {
        let mut pgbench = Command::new(binaries::find("pgbench"));
        pgbench.args(["-n", "-f", "/dev/stdin"]).args(arguments).arg(&self.url);
        pgbench.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut pgbench = pgbench.spawn().expect("pgbench starts");
        let mut input = pgbench.stdin.take().expect("a pipe");
        input.write_all(script.as_bytes()).expect("it reads");
        drop(input);
        let output = pgbench.wait_with_output().expect("pgbench runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("pgbench prints UTF-8")
    }

    /// Runs a file in it with `psql`, with these variables.
    ///
    /// # Panics
    ///
    /// The SQL fails.
    pub fn psql_file(&self, file: &str, variables: &[(&str, &str)]) -> String {
        let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let variables = variables.iter().flat_map(|variable| ["-v", variable]);
        run(&self.url, &variables.chain(["-f", file]).collect::<Vec<_>>())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The shared server of the tests goes away as a whole; on another one a panic must not hide the first.
        if std::env::var(URL).is_ok() {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = psql(&self.admin, &["-c", &drop]).output();
        }
    }
}

fn psql(url: &str, arguments: &[&str]) -> Command {
    let mut psql = Command::new(binaries::find("psql"));
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]).args(arguments);
    psql
}

fn run(url: &str, arguments: &[&str]) -> String {
    let output = psql(url, arguments).output().expect("psql runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("psql prints UTF-8").trim_end().to_owned()
}

/// The same URL with another database: what stands between the authority and the parameters.
fn with_database(url: &str, name: &str) -> String {
    let (place, parameters) = url.split_once('?').map_or((url, None), |(place, rest)| (place, Some(rest)));
    let authority = place.find("://").map_or(0, |scheme| scheme + 3);
    let end = place[authority..].find('/').map_or(place.len(), |slash| authority + slash);
    let parameters = parameters.map(|rest| format!("?{rest}")).unwrap_or_default();
    format!("{}/{name}{parameters}", &place[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_turned_to_another_database() {
        let cases = [
            ("postgres://me:secret@db:5433/postgres", "postgres://me:secret@db:5433/a"),
            ("postgres://db", "postgres://db/a"),
            ("postgres:///postgres?host=/tmp/x", "postgres:///a?host=/tmp/x"),
        ];
        for (url, expected) in cases {
            assert_eq!(with_database(url, "a"), expected);
        }
    }

    #[test]
    fn two_databases_know_nothing_of_each_other() {
        let (one, other) = (Database::create(), Database::create());
        one.psql("CREATE TABLE a (b INTEGER); INSERT INTO a VALUES (7)");
        assert_eq!(one.psql("SELECT b FROM a"), "7");
        assert_eq!(other.psql("SELECT to_regclass('a') IS NULL"), "t");
    }
}
