//! A disk that is full, cannot be written or cannot be flushed, under the database and under the tracking outbox: what is
//! refused is refused soon, what was acknowledged is there, and the server goes on by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use presence_core::{Clock, SystemClock};
use serde_json::Value;

use crate::server::{Client, PATIENCE, Server, export};

const WRITERS: usize = 6;
const APPS: usize = 4;
/// The longest that anybody may wait for an answer, in milliseconds.
const LONGEST: i64 = 5_000;
/// How long the first success may take when the disk is well again, in milliseconds.
const RECOVERY: i64 = 10_000;
/// How many of each kind are refused before the disk is well again.
const REFUSALS: usize = 30;

fn now() -> i64 {
    SystemClock.now().as_millis()
}

/// Something that may be asked of the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// A checkpoint, which goes to the database.
    Report,
    /// An event of an app, which goes to the tracking outbox, or else to the database.
    Event,
}

const KINDS: [Kind; 2] = [Kind::Report, Kind::Event];

/// What those who ask were told.
#[derive(Clone, Default)]
struct Told(Arc<(Mutex<Answers>, Condvar)>);

#[derive(Default)]
struct Answers {
    /// By user, the numbers of what was acknowledged.
    acknowledged: BTreeMap<(Kind, String), BTreeSet<u64>>,
    /// By user, how many were sent.
    sent: BTreeMap<(Kind, String), u64>,
    refused: BTreeMap<Kind, usize>,
    accepted: BTreeMap<Kind, usize>,
    /// How many events went to the store at once.
    direct: usize,
    /// When the latest that was accepted was sent, and answered.
    last: BTreeMap<Kind, (i64, i64)>,
    slowest: i64,
    has_ended: bool,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.0.lock().expect("a lock")
    }

    /// Waits until the answers are as asked for.
    fn wait_for(&self, what: &str, is_there: impl Fn(&Answers) -> bool) {
        let waited = self.0.1.wait_timeout_while(self.lock(), PATIENCE, |answers| !is_there(answers));
        assert!(!waited.expect("a lock").1.timed_out(), "{what}: not in {PATIENCE:?}");
    }

    /// Waits until so many more of each kind were accepted, or refused.
    fn wait_for_more(&self, what: &str, count: usize, of: impl Fn(&Answers) -> &BTreeMap<Kind, usize>) {
        let before = of(&self.lock()).clone();
        let more = |answers: &Answers, kind: &Kind| {
            of(answers).get(kind) >= Some(&(before.get(kind).copied().unwrap_or_default() + count))
        };
        self.wait_for(what, |answers| KINDS.iter().all(|kind| more(answers, kind)));
    }

    /// Sends one number after the other, and writes down what becomes of it.
    fn ask(&self, mut client: Client, kind: Kind, user: &str) {
        let place = (kind, user.to_owned());
        for number in 0.. {
            self.lock().sent.insert(place.clone(), number + 1);
            let sent = now();
            let request = match kind {
                Kind::Report => {
                    let body = format!(r#"{{"state":"state {number}","content":{number}}}"#);
                    client.ask(&format!("POST /users/{user}/checkpoints"), &body)
                }
                Kind::Event => {
                    let body = format!(
                        r#"{{"events":[{{"eventName":"app_session_start","installId":"phone-{user}","userId":"{user}",
                        "clientTs":{},"eventId":"{number}"}}]}}"#,
                        sent / 1000
                    );
                    client.ask("POST /api/v1/analytics/events", &body)
                }
            };
            let (status, body) = request.expect("an answer");
            let mut answers = self.lock();
            answers.slowest = answers.slowest.max(now() - sent);
            match (kind, status) {
                (Kind::Report, 201) | (Kind::Event, 200 | 202) => {
                    answers.acknowledged.entry(place.clone()).or_default().insert(number);
                    *answers.accepted.entry(kind).or_default() += 1;
                    answers.direct += usize::from((kind, status) == (Kind::Event, 200));
                    if answers.last.get(&kind).is_none_or(|(last, _)| *last < sent) {
                        answers.last.insert(kind, (sent, now()));
                    }
                }
                (_, 503) => *answers.refused.entry(kind).or_default() += 1,
                _ => panic!("{kind:?}: {status} {body}"),
            }
            self.0.1.notify_all();
            if answers.has_ended {
                return;
            }
        }
    }
}

/// A server with a tracking outbox, and those who ask it.
struct World {
    server: Server,
    told: Told,
    users: Vec<thread::JoinHandle<()>>,
    database: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl World {
    fn start(disk: &Path, more: &[(&'static str, String)]) -> Self {
        Self::start_on(disk.join("presence.db"), &disk.join("outbox"), more)
    }

    fn start_on(database: PathBuf, outbox: &Path, more: &[(&'static str, String)]) -> Self {
        let mut settings: Vec<_> = [
            ("HEARTBEAT_TIMEOUT_SECS", "0".to_owned()),
            ("TRACKING_OUTBOX_ENABLED", "1".to_owned()),
            ("TRACKING_OUTBOX_DIR", outbox.display().to_string()),
            ("TRACKING_OUTBOX_RESERVE_BYTES", "0".to_owned()),
            ("TRACKING_OUTBOX_FLUSH_INTERVAL_MS", "100".to_owned()),
            ("ACCESS_LOG", "0".to_owned()),
        ]
        .into();
        settings.extend_from_slice(more);
        let server = Self::server(&database, &settings);
        let told = Told::default();
        let ask = |kind, count: usize| {
            let (server, told) = (&server, &told);
            (0..count).map(move |number| {
                let (client, told) = (server.connect(), told.clone());
                thread::spawn(move || told.ask(client, kind, &format!("{kind:?}-{number}")))
            })
        };
        let users = ask(Kind::Report, WRITERS).chain(ask(Kind::Event, APPS)).collect();
        Self { server, told, users, database, settings }
    }

    fn server(database: &Path, settings: &[(&'static str, String)]) -> Server {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Server::start(database, &settings)
    }

    /// Lets the disk fail and be well again, and waits for the first success of each kind that was asked after that.
    fn suffers(&self, fault: &str, fail: impl FnOnce(), heal: impl FnOnce()) {
        self.told.wait_for_more(fault, 50, |answers| &answers.accepted);
        fail();
        self.told.wait_for_more(fault, REFUSALS, |answers| &answers.refused);
        // What is stored is answered all the same, and the process is well.
        let mut client = self.server.connect();
        for asked in ["GET /users/Report-0/status", "GET /livez"] {
            let (status, body) = client.ask(asked, "").expect("an answer");
            assert_eq!(status, 200, "{fault}: {asked}: {body}");
        }
        heal();
        let well = now();
        let is_back = |answers: &Answers| {
            KINDS.iter().all(|kind| answers.last.get(kind).is_some_and(|(sent, _)| *sent >= well))
        };
        self.told.wait_for(&format!("{fault}: a success"), is_back);
        // The one that was noted may not be the first, but it was no earlier.
        let took = self.told.lock().last.values().map(|(_, answered)| answered - well).max().expect("both");
        println!("{fault}: first successes after at most {took} ms");
        assert!(took <= RECOVERY, "{fault}: {took} ms");
        self.told.wait_for_more(fault, 50, |answers| &answers.accepted);
    }

    /// The server is killed, and what it acknowledged is there when it starts again, and nothing twice.
    fn has_lost_nothing(self) {
        let Self { mut server, told, users, database, settings } = self;
        told.lock().has_ended = true;
        users.into_iter().for_each(|user| user.join().expect("somebody who asks"));
        server.child.kill().expect("it runs");
        drop(server);
        let server = Self::server(&database, &settings);
        let mut client = server.connect();
        let begun = now();
        while pending(&mut client) > 0.0 {
            assert!(now() - begun < PATIENCE.as_millis() as i64, "events wait");
        }
        let answers = told.lock();
        for ((kind, user), numbers) in &answers.acknowledged {
            let (_, text) = export(&server, user);
            let kept = |line: &str| {
                let record: Value = serde_json::from_str(line).expect("JSON");
                match kind {
                    Kind::Report => (record["kind"] == "checkpoint").then(|| record["content"].as_u64())?,
                    Kind::Event => {
                        (record["kind"] == "event").then(|| record["event_id"].as_str()?.parse().ok())?
                    }
                }
            };
            let kept: Vec<u64> = text.lines().filter_map(kept).collect();
            let once: BTreeSet<_> = kept.iter().copied().collect();
            assert_eq!(once.len(), kept.len(), "{user}: something is there twice");
            let lost: Vec<_> = numbers.difference(&once).collect();
            assert!(lost.is_empty(), "{user}: {lost:?} were acknowledged");
            let sent = answers.sent[&(*kind, user.clone())];
            assert!(once.iter().all(|number| *number < sent), "{user}");
        }
        assert_eq!(answers.acknowledged.len(), WRITERS + APPS);
        println!(
            "accepted {:?}, refused {:?}; the slowest answer took {} ms",
            answers.accepted, answers.refused, answers.slowest
        );
        assert!(answers.slowest <= LONGEST, "{} ms", answers.slowest);
        assert_eq!(server.terminate(), Some(0));
    }
}

/// How much waits in the tracking outbox.
fn pending(client: &mut Client) -> f64 {
    let (status, text) = client.ask("GET /metrics", "").expect("an answer");
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("tracking_outbox_pending_bytes "));
    line.unwrap_or_else(|| panic!("no figure in {text}")).parse().expect("a number")
}

/// A disk in memory. It goes when this does.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where nobody may mount one.
    fn of(path: &'a Path) -> Option<Self> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs"]).arg(path);
        (is_root && mount.status().is_ok_and(|status| status.success())).then_some(Self(path))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast =
            File::options().append(true).create(true).open(self.0.join("ballast")).expect("a file");
        while ballast.write_all(&[0; 1 << 16]).is_ok() {}
        while ballast.write(&[0]).is_ok_and(|written| written > 0) {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_soon_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::of(folder.path()) else {
        return println!("NOT RUN: a full disk under the server. Only root may mount a small one");
    };
    let world = World::start(folder.path(), &[]);
    for round in ["full", "full again"] {
        world.suffers(round, || disk.fill(), || disk.free());
    }
    world.has_lost_nothing();
}

/// The library that makes a disk fail under a process, built for this test.
fn failing_disk(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("failing_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows/failing_disk.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    compile.status().is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn a_disk_that_cannot_be_written_or_flushed_refuses_soon_and_loses_nothing() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a disk"));
    let Some(library) = failing_disk(folder.path()) else {
        return println!("NOT RUN: a failing disk under the server. That needs Linux and a C compiler");
    };
    let fault = folder.path().join("fault");
    let settings = [
        ("LD_PRELOAD", library.display().to_string()),
        ("DISK", disk.path().display().to_string()),
        ("DISK_FAULT", fault.display().to_string()),
    ];
    let world = World::start(disk.path(), &settings);
    for how in ["read-only", "flushes fail", "read-only", "flushes fail"] {
        let fail = || fs::write(&fault, how).expect("a file");
        world.suffers(how, fail, || fs::remove_file(&fault).expect("it is there"));
    }
    world.has_lost_nothing();
}

#[test]
fn while_the_disk_of_the_tracking_outbox_alone_fails_events_go_to_the_store_at_once() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a disk"));
    let Some(library) = failing_disk(folder.path()) else {
        return println!(
            "NOT RUN: a failing disk under the tracking outbox. That needs Linux and a C compiler"
        );
    };
    let fault = folder.path().join("fault");
    let settings = [
        ("LD_PRELOAD", library.display().to_string()),
        ("DISK", disk.path().display().to_string()),
        ("DISK_FAULT", fault.display().to_string()),
    ];
    let world = World::start_on(folder.path().join("presence.db"), &disk.path().join("outbox"), &settings);
    for how in ["read-only", "flushes fail"] {
        world.told.wait_for_more(how, 50, |answers| &answers.accepted);
        fs::write(&fault, how).expect("a file");
        let before = world.told.lock().direct;
        world.told.wait_for(how, |answers| answers.direct >= before + REFUSALS);
        fs::remove_file(&fault).expect("it is there");
        // The directory takes them again: as many as nobody could have sent before that.
        let kept = |answers: &Answers| answers.accepted.get(&Kind::Event).map(|all| all - answers.direct);
        let before = kept(&world.told.lock());
        world.told.wait_for(how, |answers| kept(answers) >= before.map(|before| before + REFUSALS));
    }
    assert_eq!(world.told.lock().refused.len(), 0, "nobody is turned away");
    world.has_lost_nothing();
}
