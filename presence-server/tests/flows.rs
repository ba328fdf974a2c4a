//! The real server, as a process on a real port and a real file.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use presence_core::{Clock as _, SystemClock};
use presence_postgres_testing::Database;

/// Long for a server that answers, short for somebody who waits for a hanging one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, killed when the test ends.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(database: &Path, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
        command.env_clear().current_dir(database.parent().expect("a folder"));
        command
            .env("BIND_ADDRESS", "127.0.0.1:0")
            .env("DATABASE_URL", format!("sqlite:{}", database.display()));
        command.env("LOG_FORMAT", "json").envs(more.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("text") > 0, "the server ended before it listened");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.split('"').next().expect("an address").to_owned();
            }
        };
        // The log is read to its end, so that the server never waits for us.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    fn connect(&self) -> Client {
        Client::connect(&self.address).expect("a server that listens")
    }

    /// Tells it to end, and gives the exit code.
    fn terminate(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept alive.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address)?) })
    }

    /// One request; status and body.
    fn ask(&mut self, line: &str, body: &str) -> std::io::Result<(u16, String)> {
        let head = format!("{line} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(gone)?;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(gone());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| gone())?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).map_err(|_| gone())?))
    }
}

/// What writers were told, by user: the numbers of their reports that were answered 201, in order.
#[derive(Clone, Default)]
struct Acknowledged(Arc<(Mutex<Numbers>, Condvar)>);

type Numbers = BTreeMap<String, Vec<u64>>;

impl Acknowledged {
    fn add(&self, user: &str, number: u64) {
        let (numbers, added) = &*self.0;
        numbers.lock().expect("a lock").entry(user.to_owned()).or_default().push(number);
        added.notify_all();
    }

    fn count(&self) -> usize {
        self.numbers().values().map(Vec::len).sum()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.0.lock().expect("a lock")
    }

    /// Waits until so many were acknowledged. Writers whose server fails panic, and would leave this waiting for ever.
    fn wait_for(&self, count: usize) {
        let is_short = |numbers: &mut Numbers| numbers.values().map(Vec::len).sum::<usize>() < count;
        let waited = self.0.1.wait_timeout_while(self.numbers(), PATIENCE, is_short).expect("a lock");
        assert!(!waited.1.timed_out(), "fewer than {count} acknowledged in {PATIENCE:?}");
    }
}

/// Writers that report until the server is gone or they are told to stop.
fn writers(
    server: &Server,
    count: u64,
    prefix: &str,
    acknowledged: &Acknowledged,
    stop: &Arc<AtomicBool>,
) -> Vec<thread::JoinHandle<()>> {
    let writers = (0..count).map(|writer| {
        let (mut client, user) = (server.connect(), format!("{prefix}-{writer}"));
        let (acknowledged, stop) = (acknowledged.clone(), Arc::clone(stop));
        thread::spawn(move || {
            for number in 0.. {
                let state = if number % 2 == 0 { "Working" } else { "Idle" };
                let body = format!(r#"{{"state":"{state}","content":{number}}}"#);
                let answer = client.ask(&format!("POST /users/{user}/checkpoints"), &body);
                match answer {
                    Ok((201, _)) => acknowledged.add(&user, number),
                    Ok((status, body)) => panic!("{status} {body}"),
                    Err(_) => return,
                }
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        })
    });
    writers.collect()
}

/// Everything acknowledged is there once, in order, and beside it at most the report that was under way.
fn assert_kept(server: &Server, acknowledged: &Acknowledged) -> usize {
    let acknowledged = acknowledged.numbers();
    for (user, numbers) in acknowledged.iter() {
        let (_, export) = export(server, user);
        let records = export.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let rows: Vec<serde_json::Value> =
            records.filter(|record: &serde_json::Value| record["kind"] == "checkpoint").collect();
        let kept: Vec<_> = rows.iter().filter_map(|row| row["content"].as_u64()).collect();
        let next = numbers.len() as u64;
        let extra: Vec<_> = kept.iter().filter(|number| **number >= next).collect();
        assert_eq!(kept.get(..numbers.len()), Some(numbers.as_slice()), "{user}");
        assert!(extra.is_empty() || extra == [&next], "{user}: {extra:?} after {next}");
    }
    acknowledged.values().map(Vec::len).sum()
}

#[test]
fn a_killed_server_loses_nothing_it_acknowledged() {
    const KILLS: u64 = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    let acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let mut server = Server::start(&database, &[("HEARTBEAT_TIMEOUT_SECS", "0")]);
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.count();
        let writers = writers(&server, 32, &format!("round{kill}"), &acknowledged, &stop);
        // Killed after a number of answers that differs from round to round, from the very first on.
        acknowledged.wait_for(before + 1 + (kill * kill) as usize);
        server.child.kill().expect("it runs");
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    }
    let server = Server::start(&database, &[("HEARTBEAT_TIMEOUT_SECS", "0")]);
    let kept = assert_kept(&server, &acknowledged);
    println!("{KILLS} kills under 32 writers: {kept} acknowledged, all kept once");
}

#[test]
fn a_server_that_is_told_to_end_finishes_what_it_began_and_writes_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    // No flush by itself within the test: what is in memory is written at the end or not at all.
    let settings = [("HEARTBEAT_TIMEOUT_SECS", "86400"), ("HEARTBEAT_FLUSH_INTERVAL_MS", "3600000")];
    let server = Server::start(&database, &settings);
    let (acknowledged, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let writers = writers(&server, 8, "writer", &acknowledged, &stop);
    let mut client = server.connect();
    let beat = |secs: u64| format!(r#"{{"timestamp":{secs}}}"#);
    let (status, _) = client.ask("POST /users/alice/heartbeat", &beat(1_700_000_000)).expect("an answer");
    assert_eq!(status, 200);
    let (_, body) = client.ask("POST /users/alice/heartbeat", &beat(1_700_000_100)).expect("an answer");
    assert!(body.contains(r#""last_heartbeat":1700000100"#), "{body}");
    assert_eq!(server.terminate(), Some(0));
    stop.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));

    let server = Server::start(&database, &settings);
    let kept = assert_kept(&server, &acknowledged);
    println!("{kept} acknowledged before the end, all kept");
    let (_, export) = export(&server, "alice");
    assert!(export.contains(r#""last_heartbeat":1700000100000"#), "the pending beat was written: {export}");
}

/// Noon of yesterday in Unix seconds, and its day; the same all along.
fn yesterday() -> (i64, String) {
    static YESTERDAY: LazyLock<(i64, String)> = LazyLock::new(|| {
        let day = SystemClock.now().to_datetime().date_naive() - chrono::Days::new(1);
        let noon = day.and_hms_opt(12, 0, 0).expect("a time of day").and_utc();
        (noon.timestamp(), day.to_string())
    });
    YESTERDAY.clone()
}

/// One of many events of an app: 299 installs, of which every third has no user ever, and the others log in at times.
fn event(number: u64) -> String {
    let install = number % 299;
    let user = match !install.is_multiple_of(3) && number.is_multiple_of(2) {
        true => format!(r#","userId":"u{}","properties":{{"province":"p{}"}}"#, install / 2, install / 2 % 7),
        false => String::new(),
    };
    let at = yesterday().0 + i64::try_from(number % 40_000).expect("small");
    format!(
        r#"{{"eventName":"app_session_start","installId":"install-{install}","clientTs":{at},"eventId":"e-{number}"{user}}}"#
    )
}

/// A batch of ten of them.
fn batch(number: u64) -> String {
    let events: Vec<_> = (10 * number..10 * number + 10).map(event).collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

/// How many people enough of these events come to, and in how many provinces those with a user are.
fn people() -> (u64, BTreeMap<String, u64>) {
    let users: BTreeSet<_> =
        (0..299_u64).filter(|install| !install.is_multiple_of(3)).map(|install| install / 2).collect();
    let installs = (0..299_u64).filter(|install| install.is_multiple_of(3)).count();
    let mut provinces = BTreeMap::new();
    for user in &users {
        *provinces.entry(format!("p{}", user % 7)).or_default() += 1;
    }
    ((users.len() + installs) as u64, provinces)
}

/// Counts yesterday anew, and gives how many there were, in which provinces, and the version.
fn recalculated(client: &mut Client) -> (u64, BTreeMap<String, u64>, u64) {
    let line = format!("POST /api/v1/analytics/dau/{}/recalculate", yesterday().1);
    let (status, body) = client.ask(&line, "").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let day: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let provinces = serde_json::from_value(day["byProvince"].clone()).expect("counts");
    (day["dauCount"].as_u64().expect("a count"), provinces, day["version"].as_u64().expect("a version"))
}

/// How many lines of an export are of this kind.
fn exported(server: &Server, user: &str, kind: &str) -> usize {
    export(server, user).1.matches(&format!(r#"{{"kind":"{kind}","#)).count()
}

#[test]
fn the_figures_of_a_day_are_right_whenever_the_server_was_killed() {
    const KILLS: u64 = 8;
    const BATCHES: u64 = 60;
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    let acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let mut server = Server::start(&database, &[]);
        let before = acknowledged.count();
        // All send the same batches, each in its own order and again after each kill.
        let writers = (0..4_u64).map(|writer| {
            let (mut client, acknowledged) = (server.connect(), acknowledged.clone());
            thread::spawn(move || {
                for step in 0..BATCHES {
                    let number = (step * [1, 7, 11, 13][writer as usize] + writer * 17) % BATCHES;
                    match client.ask("POST /api/v1/analytics/events", &batch(number)) {
                        Ok((200, body)) => {
                            assert_eq!(body, r#"{"accepted":10,"failed":0,"errors":[]}"#);
                            acknowledged.add("batches", number);
                        }
                        Ok((status, body)) => panic!("{status} {body}"),
                        Err(_) => return,
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        acknowledged.wait_for(before + 1 + (kill * kill) as usize);
        server.child.kill().expect("it runs");
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    }
    let server = Server::start(&database, &[]);
    let mut client = server.connect();
    // What was acknowledged is there, with what one more batch of each writer may have left at each kill.
    let kept: BTreeSet<u64> = acknowledged.numbers()["batches"].iter().copied().collect();
    let numbers = kept.iter().flat_map(|batch| 10 * batch..10 * batch + 10);
    let acknowledged_of = |user: &str| {
        let name = format!(r#""userId":"{user}","#);
        numbers.clone().filter(|number| event(*number).contains(&name)).count()
    };
    for user in ["u1", "u5", "u70"] {
        assert!(exported(&server, user, "event") >= acknowledged_of(user), "{user}");
    }
    for number in 0..BATCHES {
        let (status, body) = client.ask("POST /api/v1/analytics/events", &batch(number)).expect("an answer");
        assert_eq!((status, body.as_str()), (200, r#"{"accepted":10,"failed":0,"errors":[]}"#));
    }
    let (count, provinces, version) = recalculated(&mut client);
    assert_eq!((count, provinces), people());
    assert_eq!(recalculated(&mut client).2, version + 1);
    for user in ["u1", "u5", "u70"] {
        let name = format!(r#""userId":"{user}","#);
        let events = (0..10 * BATCHES).filter(|number| event(*number).contains(&name)).count();
        assert_eq!((exported(&server, user, "event"), events > 0), (events, true), "each once: {user}");
    }
    // Of one who is erased nothing is left, and the day has one person fewer.
    assert_eq!(client.ask("DELETE /users/u1", "").expect("an answer").0, 200);
    assert_eq!(client.ask("GET /users/u1/export", "").expect("an answer").0, 404);
    let installs_of_u1 = [2_u64, 3].into_iter().filter(|install| !install.is_multiple_of(3)).count() as u64;
    assert_eq!(recalculated(&mut client).0, people().0 - 1 + installs_of_u1, "the installs are nobody's now");
    let (_, body) = client.ask("POST /api/v1/analytics/events", &batch(0)).expect("an answer");
    assert!(body.contains("USER_ERASED"), "{body}");
    println!("{KILLS} kills, {} of {BATCHES} batches acknowledged before the last", kept.len());
    assert_eq!(server.terminate(), Some(0));
    let mut audit = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    audit.env_clear().current_dir(folder.path()).args(["audit", &yesterday().1]);
    audit.env("DATABASE_URL", format!("sqlite:{}", database.display()));
    let output = audit.output().expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.ends_with("\n1 agree\n"), "{shown}");
}

#[test]
fn a_server_counts_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("presence.db"), &[("SNAPSHOT_INTERVAL_SECONDS", "1")]);
    let mut client = server.connect();
    let (now, day) = (SystemClock.now(), yesterday().1);
    let beat = format!(r#"{{"installId":"phone-4711","appVersion":"1","clientTs":{}}}"#, now.as_secs());
    assert_eq!(client.ask("POST /api/v1/presence/heartbeat", &beat).expect("an answer").0, 200);
    assert_eq!(client.ask("POST /api/v1/analytics/events", &batch(0)).expect("an answer").0, 200);
    let mut ask_until = |path: &str, part: &str| {
        let begun = SystemClock.now();
        loop {
            let (status, body) = client.ask(&format!("GET {path}"), "").expect("an answer");
            assert_eq!(status, 200, "{body}");
            if body.contains(part) {
                return;
            }
            assert!(SystemClock.now().since(begun) < PATIENCE, "{path}: {body}");
            thread::yield_now();
        }
    };
    // A late event, for nobody asks for yesterday to be counted; and the day before, on which nobody came, has no figures.
    let days = format!("/api/v1/analytics/dau?endDate={day}");
    ask_until(&days, &format!(r#"{{"data":[{{"day":"{day}","dauCount":"#));
    let (from, to) = (now.saturating_sub(Duration::from_secs(60)), now.saturating_add(2 * PATIENCE));
    ask_until(
        &format!("/api/v1/presence/online-history?startTime={from}&endTime={to}&interval=1m"),
        r#""count":"#,
    );
}

#[test]
fn nodes_on_one_database_count_one_day_together() {
    let (database, folder) = (Database::create(), tempfile::tempdir().expect("a folder"));
    let more = [("DATABASE_URL", database.url()), ("SNAPSHOT_INTERVAL_SECONDS", "1")];
    let nodes = [0; 2].map(|_| Server::start(&folder.path().join("unused.db"), &more));
    // Both get all of it, in different orders, and at the same time.
    let writers: Vec<_> = nodes
        .iter()
        .zip([1_u64, 7])
        .map(|(node, stride)| {
            let mut client = node.connect();
            thread::spawn(move || {
                for step in 0..60 {
                    let body = batch(step * stride % 60);
                    let answer = client.ask("POST /api/v1/analytics/events", &body).expect("an answer");
                    assert_eq!(answer, (200, r#"{"accepted":10,"failed":0,"errors":[]}"#.to_owned()));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    let [mut first, mut second] = [0, 1].map(|node: usize| nodes[node].connect());
    let (count, provinces, version) = recalculated(&mut first);
    assert_eq!((count, provinces), people());
    assert_eq!(recalculated(&mut second), (people().0, people().1, version + 1));
    let stored = database.psql("SELECT count(*), count(DISTINCT event_id) FROM presence.analytics_event_log");
    assert_eq!(stored.trim(), "600|600");
    let week = format!("GET /api/v1/analytics/active-users?period=7d&date={}", yesterday().1);
    assert_eq!(first.ask(&week, "").expect("an answer"), second.ask(&week, "").expect("an answer"));
    // One is killed; the other counts on, and erases.
    let [killed, left] = nodes;
    drop(killed);
    assert_eq!(second.ask("DELETE /users/u1", "").expect("an answer").0, 200);
    assert_eq!(exported(&left, "u5", "sighting"), 2, "one an install");
    let left_over = database.psql(
        "SELECT (SELECT count(*) FROM presence.analytics_event_log WHERE user_id = 'u1')
            + (SELECT count(*) FROM presence.daily_sightings WHERE user_id = 'u1')",
    );
    assert_eq!(left_over.trim(), "0");
    assert_eq!(left.terminate(), Some(0));
}

/// All that is stored about a user: head and body. An export is chunked, so its connection is read to the end.
fn export(server: &Server, user: &str) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address).expect("a server that listens");
    let request = format!("GET /users/{user}/export HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, chunks) = answer.split_once("\r\n\r\n").expect("a head");
    // A chunk is its length in hexadecimal on a line, and then that many bytes.
    let (mut body, mut rest) = (String::new(), chunks);
    while let Some((length, chunk)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        body.push_str(&chunk[..length]);
        rest = chunk[length..].trim_start();
    }
    (head.to_owned(), body)
}

/// What a script of the examples prints.
fn walked(script: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("presence.db"), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(script);
    let mut walk = Command::new("sh");
    let output = walk.arg(script).env("BASE", format!("http://{}", server.address)).output().expect("sh");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    println!("{shown}");
    shown
}

#[test]
fn the_walk_through_of_active_users_works_as_written() {
    let shown = walked("active_users.sh");
    let answers: Vec<_> = shown.lines().filter(|line| line.starts_with('{')).collect();
    let begin = [
        r#"{"accepted":4,"failed":0,"errors":[]}"#,
        r#"{"accepted":4,"failed":0,"errors":[]}"#,
        r#"{"day":""#,
        r#"{"accepted":1,"failed":1,"errors":[{"index":0,"code":"INVALID_BODY"}]}"#,
        r#"{"day":""#,
        r#"{"data":[{"day":""#,
        r#"{"period":"week","#,
        r#"{"period":"30d","#,
        r#"{"ok":true,"#,
        r#"{"count":1,"#,
        r#"{"data":["#,
    ];
    assert_eq!(answers.len(), begin.len(), "{shown}");
    for (answer, begin) in answers.iter().zip(begin) {
        assert!(answer.starts_with(begin), "{answer}");
    }
    let figures = |answer: usize, figures: &str| assert!(answers[answer].contains(figures), "{shown}");
    figures(2, r#""dauCount":2,"byProvince":{"Guangdong":1,"Hubei":1},"byCity":{}"#);
    figures(5, r#""dauCount":3,"byProvince":{"Guangdong":1,"Hubei":1,"Hunan":1},"byCity":{}"#);
    figures(6, r#""count":3,"byProvince":{"Guangdong":1,"Hubei":1,"Hunan":1},"byCity":{}"#);
}

#[test]
fn the_walk_through_works_as_written() {
    let shown = walked("checkpoints.sh");
    let status = shown.lines().last().expect("a status");
    assert!(
        status.contains(r#""current_state":"Offline""#)
            && status.contains(r#"{"state":"Gaming","duration_secs":3}"#),
        "{status}"
    );
}

#[test]
fn a_second_server_on_the_same_file_ends_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("presence.db");
    let server = Server::start(&database, &[]);
    let mut second = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    second.env_clear().current_dir(folder.path()).env("BIND_ADDRESS", "127.0.0.1:0");
    let output =
        second.env("DATABASE_URL", format!("sqlite:{}", database.display())).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(reason.contains(&server.child.id().to_string()), "it names the owner: {reason}");
}

#[test]
fn the_healthcheck_says_whether_the_server_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("presence.db"), &[]);
    let check = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
        command.env_clear().args(["healthcheck", "--url", &format!("http://{address}/livez")]);
        command.output().expect("it starts").status.code()
    };
    assert_eq!(check(&server.address), Some(0));
    let address = server.address.clone();
    drop(server);
    assert_eq!(check(&address), Some(1));
}

#[test]
fn nodes_on_one_database_give_the_same_answers_and_one_that_is_killed_takes_nothing_along() {
    let (database, folder) = (Database::create(), tempfile::tempdir().expect("a folder"));
    let more = [("DATABASE_URL", database.url()), ("HEARTBEAT_FLUSH_INTERVAL_MS", "100")];
    let nodes = [0; 3].map(|_| Server::start(&folder.path().join("unused.db"), &more));
    let [mut first, mut second, mut third] = [0, 1, 2].map(|node: usize| nodes[node].connect());
    for number in 0..30 {
        let path = format!("POST /users/user-{number}/checkpoints");
        assert_eq!(first.ask(&path, r#"{"state":"Working","event_id":"e-1"}"#).expect("an answer").0, 201);
        let (status, body) = second.ask(&format!("GET /users/user-{number}/status"), "").expect("an answer");
        assert!(status == 200 && body.contains(r#""current_state":"Working""#), "{body}");
        let (status, again) = third.ask(&path, r#"{"state":"Working","event_id":"e-1"}"#).expect("an answer");
        assert_eq!(status, 201, "the answer of the first time: {again}");
    }
    // The first node tells of its own members before it asks; the others were not asked yet.
    for node in [&mut first, &mut second, &mut third] {
        let (_, body) = node.ask("GET /api/v1/presence/online-count", "").expect("an answer");
        assert!(body.starts_with(r#"{"count":30,"#), "{body}");
    }
    let [killed, second_node, third_node] = nodes;
    drop(killed);
    let history = |client: &mut Client, number: usize| {
        client.ask(&format!("GET /users/user-{number}/checkpoints"), "").expect("an answer").1
    };
    for number in 0..30 {
        let rows = history(&mut second, number);
        assert_eq!(rows.matches(r#""state":"Working""#).count(), 1, "{rows}");
        assert_eq!(rows, history(&mut third, number));
    }
    assert_eq!(second.ask("DELETE /users/user-0", "").expect("an answer").0, 200);
    assert_eq!(third.ask("GET /users/user-0/status", "").expect("an answer").0, 404);
    assert_eq!((second_node.terminate(), third_node.terminate()), (Some(0), Some(0)));
    let kept = database.psql("SELECT count(*) FROM presence.checkpoints");
    assert_eq!(kept.trim(), "29");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    server.env_clear().current_dir(folder.path()).env("BIND_ADDRESS", "127.0.0.1:0");
    let url = "postgres://me:hunter2canary@127.0.0.1:1/presence";
    let output = server.env("DATABASE_URL", url).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the store does not open") && !said.contains("hunter2canary"), "{said}");
}
