//! Two nodes on one database tell one receiver, in turns: whichever of them goes, the other goes on, and nothing is lost, told
//! under two names or out of order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use presence_core::{Clock, SystemClock};
use presence_postgres_testing::Database;
use tempfile::TempDir;

use crate::{
    callbacks::settled,
    receiver::{Received, Receiver, SECRET},
    server::{Acknowledged, KEY, Server},
};

const NAMES: [&str; 2] = ["one", "two"];
/// How often a node that has the sink goes: told to, or killed.
const ROUNDS: usize = 4;
/// How many events are told before it does, and by the other one after it did.
const TOLD: usize = 150;
const USERS: usize = 3;

struct World {
    database: Database,
    folder: TempDir,
    receiver: Receiver,
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
}

impl World {
    fn start(&self, node: usize) -> Server {
        let url = format!("{}&node={}", self.receiver.url(), NAMES[node]);
        let settings = [
            ("NODE_NAME", NAMES[node]),
            ("DATABASE_MAX_CONNECTIONS", "6"),
            ("HEARTBEAT_TIMEOUT_SECS", "0"),
            ("ADMIN_API_KEY", KEY),
            ("CALLBACK_SECRET", SECRET),
            ("CALLBACK_ALLOW_PRIVATE", "1"),
            ("EVENT_CALLBACK_URL", &url),
            ("EVENT_CALLBACK_KINDS", "state_changed"),
            ("ACCESS_LOG", "0"),
        ];
        Server::start_on(self.database.url(), self.folder.path(), &settings)
    }

    /// Reports users of this node until it is gone or all is over. Those of one node alone: of two reports at the same moment
    /// one may change nothing.
    fn report(&self, server: &Server, node: usize, round: usize) -> Vec<thread::JoinHandle<()>> {
        let reports = (0..USERS).map(|user| {
            let (mut client, user) = (server.connect(), format!("user-{node}-{user}"));
            let (acknowledged, stop) = (self.acknowledged.clone(), self.stop.clone());
            thread::spawn(move || {
                for number in 0.. {
                    let body = format!(r#"{{"state":"state {round} {number}"}}"#);
                    // What a node that ends refuses is no matter.
                    let Ok((status, _)) = client.ask(&format!("POST /users/{user}/checkpoints"), &body)
                    else {
                        return;
                    };
                    if status == 201 {
                        acknowledged.add(&user, number);
                    }
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
            })
        });
        reports.collect()
    }

    /// Who has the sink.
    fn holder(&self) -> usize {
        let name = self.database.psql("SELECT node FROM presence.outbox_sinks WHERE sink = 'events'");
        NAMES.iter().position(|node| *node == name).unwrap_or_else(|| panic!("{name:?} has it"))
    }

    /// The claim of a node that was killed ends now, instead of within a minute.
    fn lapse(&self) {
        let now = SystemClock.now().as_millis();
        self.database
            .psql(&format!("UPDATE presence.outbox_sinks SET claimed_until = {now} WHERE sink = 'events'"));
    }

    /// Waits until this node has told so many more.
    fn wait_for_more(&self, node: usize) {
        let enough = told_by(&self.receiver.received(), node) + TOLD;
        self.receiver.wait_for(NAMES[node], |received| told_by(received, node) >= enough);
    }
}

fn told_by(received: &[Received], node: usize) -> usize {
    let name = format!("node={} ", NAMES[node]);
    received.iter().filter(|received| received.line.contains(&name)).count()
}

#[test]
fn two_nodes_tell_in_turns_and_whichever_goes_the_other_goes_on() {
    let world = World {
        database: Database::create(),
        folder: tempfile::tempdir().expect("a folder"),
        receiver: Receiver::start(),
        acknowledged: Acknowledged::default(),
        stop: Arc::default(),
    };
    let mut nodes = [0, 1].map(|node| Some(world.start(node)));
    let mut reporters: Vec<_> =
        nodes.iter().flatten().enumerate().flat_map(|(node, server)| world.report(server, node, 0)).collect();
    world.receiver.wait_for("the first", |received| received.len() >= TOLD);
    for round in 0..ROUNDS {
        let holder = world.holder();
        world.wait_for_more(holder);
        assert_eq!(world.holder(), holder, "it keeps what it has");
        let mut gone = nodes[holder].take().expect("it runs");
        if round % 2 == 0 {
            assert_eq!(gone.terminate(), Some(0));
        } else {
            gone.child.kill().expect("it runs");
            drop(gone);
            world.lapse();
        }
        world.wait_for_more(1 - holder);
        assert_eq!(world.holder(), 1 - holder);
        let again = world.start(holder);
        reporters.extend(world.report(&again, holder, round + 1));
        nodes[holder] = Some(again);
    }
    world.stop.store(true, Ordering::SeqCst);
    reporters.into_iter().for_each(|reporter| reporter.join().expect("a reporter"));

    let nodes = nodes.map(|node| node.expect("it runs"));
    let mut client = nodes[0].connect();
    let books = settled(&mut client, "events", |books| books["pending"] == 0);
    let received = world.receiver.received();
    let mut of_user = BTreeMap::<String, (BTreeSet<String>, Vec<u64>)>::new();
    for received in &received {
        let body = received.json();
        let (ids, versions) =
            of_user.entry(body["data"]["user"].as_str().expect("a user").to_owned()).or_default();
        if ids.insert(received.id.clone()) {
            versions.push(body["data"]["version"].as_u64().expect("a version"));
        }
    }
    for (user, numbers) in world.acknowledged.numbers().iter() {
        let (ids, versions) = &of_user[user];
        assert!(versions.is_sorted_by(|one, next| one < next), "{user}: in order");
        let rows = format!("SELECT count(*) FROM presence.checkpoints WHERE user_id = '{user}'");
        let rows: usize = world.database.psql(&rows).parse().expect("a number");
        assert_eq!(ids.len(), rows, "{user}: each row is told, and nothing else");
        assert!(rows >= numbers.len(), "{user}: {rows} rows");
    }
    let ids = world.receiver.by_id().len() as u64;
    assert_eq!((books["delivered"], books["accepted"]), (ids, ids));
    assert_eq!(books["dead"] + books["expired"] + books["erased"], 0);
    let shares = [0, 1].map(|node| told_by(&received, node));
    println!(
        "{} acknowledged on two nodes, {ids} told in {} requests: {} by one, {} by two; {ROUNDS} times the one that had \
         the sink was gone",
        world.acknowledged.count(),
        received.len(),
        shares[0],
        shares[1],
    );
    assert!(shares.iter().all(|share| *share >= TOLD), "{shares:?}");
    drop(client);
    assert_eq!(nodes.map(Server::terminate), [Some(0); 2]);
}
