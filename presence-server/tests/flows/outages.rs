//! PostgreSQL goes away and comes back, under load: what was acknowledged is there, and once.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use presence_core::{Clock, SystemClock};
use presence_postgres_testing::{Cut, Database, Proxy, Server as Postgres, Stop};

use crate::server::{Client, PATIENCE, Server};

/// The size of the pool.
const CONNECTIONS: usize = 6;
const WRITERS: usize = 24;
/// How long the first success after a fault may take, in milliseconds.
const RECOVERY: i64 = 3_000;
/// How many commits lose their answers.
const CUTS: usize = 10;

fn now() -> i64 {
    SystemClock.now().as_millis()
}

/// What writers were told.
#[derive(Clone, Default)]
struct Told(Arc<(Mutex<Answers>, Condvar)>);

#[derive(Default)]
struct Answers {
    /// By user, the numbers of the reports that were answered 201.
    acknowledged: BTreeMap<String, BTreeSet<u64>>,
    /// By user, how many were sent.
    sent: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
    /// When the latest request that succeeded was sent, and when it was answered.
    last_success: (i64, i64),
    successes: u64,
    has_ended: bool,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.0.lock().expect("a lock")
    }

    /// Waits until the answers are as asked for, or for so long; says whether they are.
    fn wait(&self, limit: Duration, is_there: impl Fn(&Answers) -> bool) -> bool {
        let short = |answers: &mut Answers| !is_there(answers);
        let waited = self.0.1.wait_timeout_while(self.lock(), limit, short).expect("a lock").1;
        !waited.timed_out()
    }

    fn note(&self, sent: i64, status: u16) {
        let mut answers = self.lock();
        *answers.statuses.entry(status).or_default() += 1;
        if status < 300 {
            answers.successes += 1;
            if answers.last_success.0 < sent {
                answers.last_success = (sent, now());
            }
        }
        self.0.1.notify_all();
    }

    /// As a client does that was told to come back later; it comes when others succeed again.
    fn back_off(&self) {
        let before = self.lock().successes;
        self.wait(Duration::from_millis(200), |answers| answers.successes > before);
    }

    /// Waits until so many more have succeeded.
    fn wait_for_more(&self, count: u64) {
        let wanted = self.lock().successes + count;
        assert!(self.wait(PATIENCE, |answers| answers.successes >= wanted), "the writers go on");
    }
}

/// Reports one number after the other. Half of the users name their requests, and repeat them until they are answered;
/// the others go on with the next number.
fn write(mut client: Client, user: &str, repeats: bool, told: &Told) {
    for number in 0.. {
        told.lock().sent.insert(user.to_owned(), number + 1);
        loop {
            let id = if repeats { format!(r#","event_id":"e-{number}""#) } else { String::new() };
            let body = format!(r#"{{"state":"state {number}","content":{number}{id}}}"#);
            let sent = now();
            let (status, body) =
                client.ask(&format!("POST /users/{user}/checkpoints"), &body).expect("an answer");
            told.note(sent, status);
            match status {
                201 => {
                    told.lock().acknowledged.entry(user.to_owned()).or_default().insert(number);
                    break;
                }
                429 | 503 => told.back_off(),
                _ => panic!("{status} {body}"),
            }
            if !repeats {
                break;
            }
        }
        if told.lock().has_ended {
            return;
        }
    }
}

/// Asks and beats, for as long as others write.
fn read(mut client: Client, user: &str, told: &Told) {
    let requests = [
        "POST /users/{}/heartbeat",
        "GET /users/{}/status",
        "GET /api/v1/presence/online-count",
        "GET /readyz",
    ];
    for request in requests.iter().cycle() {
        let (status, body) = client.ask(&request.replace("{}", user), "").expect("an answer");
        *told.lock().statuses.entry(status).or_default() += 1;
        match status {
            200 => {}
            // The user of the status may be new.
            404 if request.starts_with("GET /users") => {}
            429 | 503 => told.back_off(),
            _ => panic!("{status} {body}"),
        }
        if told.lock().has_ended {
            return;
        }
    }
}

/// A PostgreSQL with a server of ours in front of it that reaches it by way of a proxy.
struct World {
    postgres: Postgres,
    database: Database,
    proxy: Proxy,
    told: Told,
}

impl World {
    /// The process ids of the server's connections.
    fn connections(&self) -> Vec<String> {
        let pids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'presence'";
        self.database.psql(pids).lines().map(str::to_owned).collect()
    }

    /// Does something to the database, and waits for the first success of what was asked after it was over.
    fn suffers(&self, fault: &str, happen: impl FnOnce(&Self)) {
        self.told.wait_for_more(200);
        happen(self);
        let over = now();
        let is_back = |answers: &Answers| answers.last_success.0 >= over;
        assert!(self.told.wait(PATIENCE, is_back), "{fault}: nothing succeeds any more");
        // The one that was noted may not be the first, but it was no earlier.
        let took = self.told.lock().last_success.1 - over;
        println!("{fault}: first success after at most {took} ms");
        assert!(took <= RECOVERY, "{fault}: {took} ms");
        self.told.wait_for_more(200);
        let open = self.connections().len();
        assert!(open <= CONNECTIONS, "{fault}: {open} connections");
    }

    fn set_read_only(&self, setting: &str) {
        self.database.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {setting}"));
        self.database.psql("SELECT pg_reload_conf()");
    }
}

#[test]
fn whatever_happens_to_the_database_what_was_acknowledged_is_there_once() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let proxy = Proxy::to(&postgres, &database);
    let folder = tempfile::tempdir().expect("a folder");
    let connections = CONNECTIONS.to_string();
    let settings = [
        ("DATABASE_MAX_CONNECTIONS", connections.as_str()),
        ("HEARTBEAT_TIMEOUT_SECS", "0"),
        ("HEARTBEAT_FLUSH_INTERVAL_MS", "100"),
        ("ACCESS_LOG", "0"),
    ];
    let server = Server::start_on(proxy.url(), folder.path(), &settings);
    let told = Told::default();
    let mut users: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, told) = (server.connect(), told.clone());
            thread::spawn(move || write(client, &format!("writer-{writer}"), writer % 2 == 0, &told))
        })
        .collect();
    users.extend((0..4).map(|reader| {
        let (client, told) = (server.connect(), told.clone());
        thread::spawn(move || read(client, &format!("reader-{reader}"), &told))
    }));
    let world = World { postgres, database, proxy, told };

    world.suffers("all connections are ended", |world| {
        world.database.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    });
    for stop in [Stop::Fast, Stop::Immediate] {
        world.suffers(&format!("a restart, {stop:?}"), |world| {
            world.postgres.stop(stop);
            world.postgres.start_again();
        });
    }
    world.suffers("a backend is killed", |world| {
        let pid = world.connections().pop().expect("a connection");
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        assert!(killed.expect("kill").success());
    });
    world.suffers("it is read-only for three seconds", |world| {
        let since = now();
        world.set_read_only("on");
        let lasts = |_: &Answers| now() - since >= 3_000;
        assert!(world.told.wait(PATIENCE, lasts), "the writers go on");
        assert!(world.told.lock().statuses.contains_key(&503), "nobody was turned away");
        world.set_read_only("off");
    });
    world.suffers("answers to commits are lost", |world| {
        for _ in 0..CUTS {
            world.proxy.cut(Cut::Commit, 1);
            assert!(world.told.wait(PATIENCE, |_| !world.proxy.will_cut(Cut::Commit)), "somebody commits");
        }
    });

    world.told.lock().has_ended = true;
    users.into_iter().for_each(|user| user.join().expect("a user"));
    let World { database, told, .. } = &world;
    let rows = database.psql(
        "SELECT user_id, content FROM presence.checkpoints WHERE source = 'client' ORDER BY user_id, id",
    );
    let mut kept: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in rows.lines() {
        let (user, number) = line.split_once('|').expect("two columns");
        kept.entry(user.to_owned()).or_default().push(number.parse().expect("a number"));
    }
    let answers = told.lock();
    let (mut acknowledged, mut unanswered) = (0, 0);
    for (user, numbers) in &answers.acknowledged {
        let kept = &kept[user];
        let once: BTreeSet<_> = kept.iter().copied().collect();
        assert_eq!(once.len(), kept.len(), "{user}: something is there twice");
        let lost: Vec<_> = numbers.difference(&once).collect();
        assert!(lost.is_empty(), "{user}: {lost:?} were acknowledged");
        assert!(once.iter().all(|number| *number < answers.sent[user]), "{user}");
        acknowledged += numbers.len();
        unanswered += once.len() - numbers.len();
    }
    println!(
        "{acknowledged} acknowledged, all there once; {unanswered} there that were not acknowledged; answers: {:?}",
        answers.statuses
    );
    assert_eq!(answers.acknowledged.len(), WRITERS);
    drop(answers);
    assert_eq!(server.terminate(), Some(0));
}
