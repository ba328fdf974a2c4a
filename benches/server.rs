//! A process that is measured.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::process;

/// What its operators show.
pub const ADMIN_KEY: &str = "f3b9Qd7sKx2LmPz8RwTy5VnCh4Ag6JeU";

/// What is started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// The server, with everything in memory.
    Memory,
    /// The server on a SQLite file in a folder of its own.
    Sqlite,
    /// The bare handlers.
    Handlers,
}

/// A running server; killed when it goes out of scope.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// How it was started.
    command: Command,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it works; removed with it.
    _folder: TempDir,
}

impl Server {
    /// Starts a program on `core`, and waits until it says where it listens.
    ///
    /// # Errors
    ///
    /// It is not built, or ends.
    pub fn start(program: Program, core: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = match program {
            Program::Memory | Program::Sqlite => on_core(&beside("presence-server")?, core),
            Program::Handlers => on_core(&beside("against")?, core),
        };
        if program == Program::Handlers {
            command.arg("handlers");
        }
        if program == Program::Sqlite {
            let file = folder.path().join("presence.db");
            command.env("DATABASE_URL", format!("sqlite:{}", file.display()));
        }
        Self::run(command, folder)
    }

    /// Starts the server on a store that is there, on any core, and waits until it says where it listens.
    ///
    /// # Errors
    ///
    /// It is not built, or ends.
    pub fn on_store(url: &str) -> io::Result<Self> {
        let mut command = Command::new(beside("presence-server")?);
        command.env_clear().env("DATABASE_URL", url);
        Self::run(command, tempfile::tempdir()?)
    }

    /// Starts a program of somebody else's on `core`. It says "listening on http://ADDRESS" on its standard error.
    ///
    /// # Errors
    ///
    /// It is not there, or ends.
    pub fn other(program: &Path, arguments: &[&str], core: &str) -> io::Result<Self> {
        let mut command = on_core(program, core);
        command.args(arguments);
        Self::run(command, tempfile::tempdir()?)
    }

    fn run(mut command: Command, folder: TempDir) -> io::Result<Self> {
        command.env("BIND_ADDRESS", "127.0.0.1:0").env("ACCESS_LOG", "0").env("ADMIN_API_KEY", ADMIN_KEY);
        command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::piped());
        let (child, address) = listening(&mut command)?;
        Ok(Self { child, command, address, _folder: folder })
    }

    /// Kills it, and starts it again on what it left behind, at the same address.
    ///
    /// # Errors
    ///
    /// It does not begin again.
    pub fn kill_and_start(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.command.env("BIND_ADDRESS", self.address.to_string());
        (self.child, self.address) = listening(&mut self.command)?;
        Ok(())
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time so far, in seconds.
    #[must_use]
    pub fn cpu(&self) -> f64 {
        process::cpu(self.pid()).map_or(f64::NAN, |time| time.as_secs_f64())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks as an operator, as in `GET /api/v1/health`; the body of the answer.
///
/// # Errors
///
/// The connection failed, or the answer was no success.
pub fn ask(address: SocketAddr, line: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nX-Api-Key: {ADMIN_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 20") => Ok(body.to_owned()),
        _ => Err(io::Error::other(answer)),
    }
}

/// Starts a program, and waits until it says where it listens.
fn listening(command: &mut Command) -> io::Result<(Child, SocketAddr)> {
    let mut child = command.spawn()?;
    let log = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
    let mut lines = BufReader::new(log).lines();
    let mut said = String::new();
    let address = loop {
        let Some(line) = lines.next().transpose()? else {
            child.wait()?;
            return Err(io::Error::other(format!("the program ended: {said}")));
        };
        if let Some(address) = listening_on(&line) {
            break address;
        }
        said = line;
    };
    // A pipe that nobody reads would stop the server one day.
    thread::spawn(move || lines.for_each(drop));
    Ok((child, address))
}

fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("listening on http://")?;
    let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(address.len());
    address[..end].parse().ok()
}

/// A command bound to a core, without any variable that could change what it does.
#[must_use]
pub fn on_core(program: &Path, core: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command
}

/// The program of this name that was built with this one.
///
/// # Errors
///
/// It is not built.
pub fn beside(name: &str) -> io::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    if fs::exists(&path)? {
        Ok(path)
    } else {
        let text = format!("{} is not built: `make bench` does", path.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}
