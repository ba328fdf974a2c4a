//! A server as a process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

use crate::world::KEY;

/// A server that has its memory to itself; killed when the test ends.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
        command.env_clear().current_dir(std::env::temp_dir()).stderr(Stdio::piped());
        command.env("BIND_ADDRESS", "127.0.0.1:0").env("LOG_FORMAT", "json").env("ADMIN_API_KEY", KEY);
        let mut child = command.envs(settings.iter().copied()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("text") > 0, "the server ended before it listened");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address
                    .split('"')
                    .next()
                    .and_then(|address| address.parse().ok())
                    .expect("an address");
            }
        };
        // The log is read to its end, so that the server never waits for us.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    /// Memory that is in use, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("Linux");
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
