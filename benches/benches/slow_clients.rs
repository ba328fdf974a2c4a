//! What clients that take their time do to one that does not: `make bench`, or
//! `cargo build --release --package presence-server && cargo bench --package presence-benches --bench slow_clients`.
//!
//! The real server, as a process with its real limits and a file with fsync. One client reports and beats as fast as it
//! is answered: first alone, then beside 900 connections that send nothing, a head a byte every 5 s, or a body a byte
//! every 5 s. Who is closed connects again. The goals: no p99 above 200 ms, and nobody slow stays past a deadline.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime, task,
    time::{interval, timeout_at},
};

const TIME: Duration = Duration::from_secs(30);
const EACH: usize = 300;
const PACE: Duration = Duration::from_secs(5);

/// A kind of slow client: what it is, what it sends at once, what it goes on with, and its deadline in seconds.
const KINDS: [(&str, &str, &str, u64); 3] = [
    ("nothing", "", "", 10),
    ("a head, a byte every 5 s", "GET /livez HTTP/1.1\r\nHost: a\r\nX: ", "x", 10),
    (
        "a body, a byte every 5 s",
        "POST /users/mallory/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: 60000\r\n\r\n",
        " ",
        15,
    ),
];

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("presence.db"))?;
    println!("{:34} {:>10} {:>10} {:>10} {:>10}", "", "requests", "p50", "p99", "longest");
    let alone = normal(server.address, TIME)?;
    alone
        .iter()
        .zip(["heartbeat", "checkpoint"])
        .for_each(|(times, what)| row(&format!("{what}, alone"), times));

    let attack = thread::spawn(move || slow(server.address));
    let beside = normal(server.address, TIME)?;
    for (times, what) in beside.iter().zip(["heartbeat", "checkpoint"]) {
        row(&format!("{what}, beside {} slow clients", EACH * KINDS.len()), times);
    }
    let closed = attack.join().map_err(|_| io::Error::other("the slow clients failed"))??;

    println!(
        "\n{:34} {:>10} {:>10} {:>10} {:>10}  last told",
        "closed after", "closed", "first", "median", "last"
    );
    let mut is_kept = beside.iter().all(|times| quantile(times, 0.99) <= Duration::from_millis(200));
    for ((what, _, _, deadline), closed) in KINDS.iter().zip(closed) {
        let mut times: Vec<_> = closed.iter().map(|end| end.after).collect();
        times.sort_unstable();
        let told = closed.iter().max_by_key(|end| end.after).map_or("", |end| end.told.as_str());
        let [first, median, last] = [0.0, 0.5, 1.0].map(|part| quantile(&times, part).as_secs_f64());
        println!("{what:34} {:>10} {first:>8.2} s {median:>8.2} s {last:>8.2} s  {told}", times.len());
        // A second of grace: this program shares its cores with the server.
        is_kept &= times.len() >= EACH && last < *deadline as f64 + 1.0;
    }
    println!(
        "\nno p99 above 200 ms, and nobody past a deadline: {}",
        if is_kept { "kept" } else { "NOT KEPT" }
    );
    Ok(())
}

/// The server as a process, killed at the end.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(database: &std::path::Path) -> io::Result<Self> {
        let program = env::current_exe()?;
        let program =
            program.parent().and_then(|deps| deps.parent()).map(|built| built.join("presence-server"));
        let program = program.filter(|program| program.exists()).ok_or_else(|| {
            io::Error::other("there is no server: cargo build --release --package presence-server")
        })?;
        let mut command = Command::new(program);
        command.env_clear().env("BIND_ADDRESS", "127.0.0.1:0").env("LOG_FORMAT", "json");
        command.env("DATABASE_URL", format!("sqlite:{}", database.display())).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no log"))?;
        let mut log = BufReader::new(log);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the server ended before it listened"));
            }
            if let Some((_, address)) = line.split_once("listening on http://") {
                let address = address.split('"').next().unwrap_or_default();
                break address.parse().map_err(io::Error::other)?;
            }
        };
        // The log is read to its end, so that the server never waits for us.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Heartbeats and checkpoints in turn, one at a time; how long each took, shortest first.
fn normal(address: SocketAddr, time: Duration) -> io::Result<[Vec<Duration>; 2]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut times = [Vec::new(), Vec::new()];
    let begun = now();
    for number in 0_u64.. {
        if begun.elapsed() >= time {
            break;
        }
        let state = if number % 2 == 0 { "Working" } else { "Idle" };
        let requests =
            [("heartbeat", "{}".to_owned()), ("checkpoints", format!("{{\"state\":\"{state}\"}}"))];
        for ((route, body), times) in requests.iter().zip(&mut times) {
            let request = format!(
                "POST /users/alice/{route} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let sent = now();
            stream.write_all(request.as_bytes())?;
            let answer = read_answer(&mut stream)?;
            times.push(sent.elapsed());
            if !answer.starts_with("HTTP/1.1 20") {
                return Err(io::Error::other(answer));
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    Ok(times)
}

fn read_answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&bytes[..length]),
        }
    }
}

/// How a slow client ended.
struct End {
    after: Duration,
    told: String,
}

type Ends = Arc<Mutex<Vec<End>>>;

/// Keeps all slow clients connected for the time, and waits until the last of them is closed.
fn slow(address: SocketAddr) -> io::Result<[Vec<End>; 3]> {
    let ends: [Ends; 3] = Default::default();
    let clients = async {
        let until = now() + TIME;
        let mut clients = task::JoinSet::new();
        for (kind, ends) in KINDS.iter().zip(&ends) {
            for _ in 0..EACH {
                let ends = Arc::clone(ends);
                clients.spawn(async move {
                    while now() < until {
                        let end = client(address, kind.1, kind.2).await?;
                        ends.lock().map_err(|_| io::Error::other("a client failed"))?.push(end);
                    }
                    Ok::<_, io::Error>(())
                });
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok::<_, io::Error>(())
    };
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(clients)?;
    Ok(ends.map(|ends| ends.lock().map(|mut ends| std::mem::take(&mut *ends)).unwrap_or_default()))
}

/// One connection, until the server closes it, or for a minute.
async fn client(address: SocketAddr, first: &str, then: &str) -> io::Result<End> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let begun = now();
    stream.write_all(first.as_bytes()).await?;
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        let mut ticks = interval(PACE);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if writer.write_all(then.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = Vec::new();
    let read = timeout_at((begun + Duration::from_secs(60)).into(), reader.read_to_end(&mut answer));
    let read = tokio::select! {
        () = trickle => Ok(Ok(0)),
        read = read => read,
    };
    let after = begun.elapsed();
    let Ok(read) = read else { return Ok(End { after, told: "not closed".to_owned() }) };
    read?;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let status = answer.split(' ').nth(1);
    Ok(End { after, told: format!("{} {}", status.unwrap_or("nothing"), code.unwrap_or_default()) })
}

/// Of durations in order, the one that a `part` of all do not exceed.
fn quantile(times: &[Duration], part: f64) -> Duration {
    let place = ((times.len() as f64 * part).ceil() as usize).max(1) - 1;
    times.get(place).copied().unwrap_or_default()
}

fn row(what: &str, times: &[Duration]) {
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|part| quantile(times, part).as_secs_f64() * 1e3);
    println!("{what:34} {:>10} {p50:>7.2} ms {p99:>7.2} ms {longest:>7.2} ms", times.len());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}
