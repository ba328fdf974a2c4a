//! A process that is measured, bound to its core.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use presence_benches::process;
use tempfile::TempDir;

/// What is started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    /// The server, with everything in memory.
    Memory,
    /// The server on a SQLite file in a folder of its own.
    Sqlite,
    /// The bare handlers.
    Handlers,
}

/// A running server; killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where it works; removed with it.
    _folder: TempDir,
}

impl Server {
    /// Starts a program on `core`, and waits until it says where it listens.
    pub(crate) fn start(program: Program, core: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = match program {
            Program::Memory | Program::Sqlite => on_core(&beside("presence-server")?, core),
            Program::Handlers => on_core(&beside("against")?, core),
        };
        match program {
            Program::Handlers => _ = command.arg("handlers"),
            Program::Memory | Program::Sqlite => {
                command.env("BIND_ADDRESS", "127.0.0.1:0").env("ACCESS_LOG", "0");
            }
        }
        if program == Program::Sqlite {
            let file = folder.path().join("presence.db");
            command.env("DATABASE_URL", format!("sqlite:{}", file.display()));
        }
        let mut child = command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let mut lines = BufReader::new(log).lines();
        let mut said = String::new();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                child.wait()?;
                return Err(io::Error::other(format!("{program:?} ended: {said}")));
            };
            if let Some(address) = listening_on(&line) {
                break address;
            }
            said = line;
        };
        // A pipe that nobody reads would stop the server one day.
        thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, _folder: folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
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

fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("listening on http://")?;
    let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(address.len());
    address[..end].parse().ok()
}

/// A command bound to a core, without any variable that could change what it does.
pub(crate) fn on_core(program: &Path, core: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command
}

/// The program of this name that was built with this one.
pub(crate) fn beside(name: &str) -> io::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    if fs::exists(&path)? {
        Ok(path)
    } else {
        let text = format!("{} is not built: `make bench` does", path.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}
