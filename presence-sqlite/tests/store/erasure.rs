//! What an erasure leaves: nothing but its tombstone.

use std::{fs, path::Path};

use crate::support::{ask, at, commit, request, row, timeout, user, version};
use futures_executor::block_on;
use presence_core::{
    Action, ActivityPolicy, ActivityStore, AdminAction, Appended, Batch, ChatMessage, ChatText,
    CheckpointQuery, CheckpointStore, ClientEvent, ClosedDay, Commit, Content, Epoch, Erasure, EventId,
    EventName, EventProperties, Fold, InstallId, Lease, LiveSet, Mark, Member, NewRoom, Nickname, Outcome,
    Position, RoomCounters, RoomId, RoomName, RoomQuery, RoomRole, RoomRow, RoomSession, RoomStore, Row,
    Seen, StateType, SummaryCache, Version, Window, Written,
};
use presence_sqlite::{SqliteConfig, SqliteStore};

const SECRET: &str = "zebra-umbrella-xylophone";

/// Everything that can be stored about a user, with its name in its content.
fn full_commit(name: &str, n: i64) -> Commit {
    let mut rows = [row("Working", 1000 + n), timeout(1060 + n, 1000 + n), row("Idle", 2000 + n)];
    let note = name.repeat(usize::try_from(n % 7 * n % 40).unwrap());
    rows[0].content = Some(Content::parse(&format!(r#"{{"name":"{name}","note":"{note}"}}"#)).unwrap());
    let mut commit = commit(name, None, &rows);
    commit.totals = vec![(StateType::Working, 60_000)];
    commit.requests = vec![(request(&format!("{name}-request")), Row::Inserted(0))];
    commit
}

fn see(store: &SqliteStore, name: &str) {
    let seen = Seen::Member { member: Member::User(user(name)), at: at(1000), floor: at(0) };
    block_on(LiveSet::touch(store, vec![seen])).unwrap();
}

/// Keeps a day of a user, which was spent in a state of its name.
fn sum_up(store: &SqliteStore, name: &str, version: Version) {
    let day = Window::new(at(0), at(1000)).unwrap();
    let days = vec![ClosedDay { window: day, closed: vec![(StateType::new(name).unwrap(), 1000)] }];
    let mark = Mark { zone: "UTC".to_owned(), resume_at: at(1000), due_at: at(2000) };
    let fold = Fold { user: user(name), version, mark, days, at: at(3000) };
    assert_eq!(block_on(store.keep(vec![fold])).unwrap(), [true]);
}

/// Two events of each user that count, with its name wherever a name can stand.
fn act(store: &SqliteStore, names: &[String]) {
    let policy = ActivityPolicy { late_window: None, ..ActivityPolicy::default() };
    let event = |name: &String, number: i64| {
        let properties = format!(r#"{{"city":"{name}","province":"{name}"}}"#);
        let install = InstallId::new(format!("install-{}", name.len() as i64 % 7 + number)).unwrap();
        let event = ClientEvent::new(EventName::new("app_session_start").unwrap(), install)
            .by(user(name))
            .at(at(86_400 * number))
            .with_event_id(EventId::new(format!("{name}-{number}")).unwrap())
            .with_properties(EventProperties::parse(&properties).unwrap());
        event.judged(at(200_000), &policy).unwrap()
    };
    let events: Vec<_> = names.iter().flat_map(|name| [event(name, 1), event(name, 2)]).collect();
    let outcomes = block_on(store.append(events)).unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Appended::Stored));
}

/// How often a text stands in the files of a directory.
fn occurrences(dir: &Path, needle: &str) -> usize {
    let files = fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()).sum()
}

/// A store of many users that came in no order, so that pages were split around every one of them.
fn crowd(path: &Path) -> SqliteStore {
    let store = block_on(SqliteStore::open(path)).unwrap();
    let numbers: Vec<_> = (0..4000_u32).map(|n| n.wrapping_mul(2_654_435_761) >> 16).collect();
    for (n, chunk) in (0..).zip(numbers.chunks(50)) {
        let others =
            chunk.iter().map(|number| full_commit(&format!("{number:05}-{number:x}"), i64::from(*number)));
        let outcomes = block_on(store.commit(others.chain([full_commit(&secret(n), n)]).collect())).unwrap();
        assert!(outcomes.iter().all(|outcome| version(outcome) > Version(0)));
        sum_up(&store, &secret(n), version(outcomes.last().unwrap()));
        let others = chunk.iter().map(|number| format!("{number:05}-{number:x}"));
        let names = others.chain([secret(n)]).collect::<Vec<_>>();
        act(&store, &names);
        chat(&store, &names);
    }
    store
}

/// A stay of each user in a room, with its name wherever a name can stand.
fn chat(store: &SqliteStore, names: &[String]) {
    let id = RoomId::new("lobby").unwrap();
    let made = NewRoom {
        id: id.clone(),
        name: RoomName::new("Lobby").unwrap(),
        admins: vec![],
        created_at: at(1),
        events: vec![],
    };
    if block_on(store.create_room(made)).unwrap() {
        let lease = Lease { node: "one".to_owned(), epoch: Epoch(1), until: at(9000) };
        assert!(block_on(store.take_room(&id, Epoch(0), lease, 0)).unwrap().is_some());
    }
    let RoomCounters { last_seq, .. } = block_on(store.room(&id)).unwrap().unwrap().counters;
    let numbers = (last_seq + 1..).zip(names);
    let rows = numbers.flat_map(|(number, name)| {
        let (user_id, nickname) = (user(name), Nickname::new(name).unwrap());
        let action = AdminAction {
            number: number + 1,
            actor: Some(user_id.clone()),
            action: Action::Mute,
            target: Some(user_id.clone()),
            at: at(1000),
        };
        let session = RoomSession {
            number,
            user_id: user_id.clone(),
            nickname: nickname.clone(),
            join_time: at(1000),
            leave_time: None,
        };
        let message = ChatMessage {
            position: Position { epoch: Epoch(1), seq: number },
            user_id: user_id.clone(),
            nickname,
            content: ChatText::new(&name.repeat(1 + number as usize % 400)).unwrap(),
            is_admin: false,
            created_at: at(1000),
        };
        let granted = |role| RoomRow::Granted { user_id: user_id.clone(), role, at: at(1000) };
        let (admin, muted) = (granted(RoomRole::Admin), granted(RoomRole::Muted));
        [admin, muted, RoomRow::Joined(session), RoomRow::Message(message), RoomRow::Action(action)]
    });
    let (rows, epoch) = (rows.collect(), Epoch(1));
    let last_seq = last_seq + names.len() as i64;
    let counters = RoomCounters { last_seq, last_action: last_seq + 1, ..RoomCounters::default() };
    let batch = Batch { room: id, epoch, number: 1, at: at(2000), counters, rows, events: vec![] };
    assert_eq!(block_on(store.write_batches(vec![batch])).unwrap(), [Written::Stored]);
}

/// One of 80 users that are spread over the crowd.
fn secret(n: i64) -> String {
    format!("{:05}-{SECRET}-{n}", n * 811 % 65_537)
}

#[test]
fn an_erasure_leaves_no_byte_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let store = crowd(&path);
    see(&store, SECRET);
    let outcomes = block_on(store.commit(vec![full_commit(SECRET, 0)])).unwrap();
    sum_up(&store, SECRET, version(&outcomes[0]));
    act(&store, &[SECRET.to_owned()]);
    chat(&store, &[SECRET.to_owned()]);
    let others = occurrences(dir.path(), SECRET);
    assert!(others > 100, "{others}");
    for n in 0..80 {
        let erased = block_on(store.erase(&user(&secret(n)), at(5000))).unwrap();
        assert_eq!(erased, Erasure { checkpoints: 3, requests: 1, events: 2, messages: 1, room_sessions: 1 });
    }
    let erased = block_on(store.erase(&user(SECRET), at(5000))).unwrap();
    assert_eq!(erased, Erasure { checkpoints: 3, requests: 1, events: 2, messages: 1, room_sessions: 1 });
    assert_eq!(occurrences(dir.path(), SECRET), 0, "while it is open");
    assert_eq!(block_on(store.facts(&user(SECRET), &[])).unwrap(), None);
    assert_eq!(block_on(store.count(at(0))).unwrap(), 0);
    block_on(store.close());
    assert_eq!(occurrences(dir.path(), SECRET), 0, "after it is closed");
}

#[test]
fn an_erasure_fences_what_was_decided_before_it() {
    let store = block_on(SqliteStore::open(":memory:")).unwrap();
    let alice = user("alice");
    assert_eq!(block_on(store.erase(&alice, at(5000))).unwrap(), Erasure::default());
    assert_eq!(block_on(store.erase(&alice, at(4000))).unwrap(), Erasure::default());
    let context = block_on(store.load(vec![ask("alice", 6000, 6000), ask("bob", 6000, 6000)])).unwrap();
    assert_eq!((context[0].erased_at, context[1].erased_at), (Some(at(5000)), None));
    let before = commit("alice", None, &[row("Working", 6000)]);
    let after = Commit { erased_at: Some(at(5000)), ..before.clone() };
    let outcomes = block_on(store.commit(vec![before, after])).unwrap();
    assert_eq!(outcomes[0], Outcome::Conflict);
    let expected = Some(version(&outcomes[1]));
    block_on(store.erase(&alice, at(7000))).unwrap();
    let late = commit("alice", expected, &[row("Idle", 6100)]);
    assert_eq!(block_on(store.commit(vec![late])).unwrap(), [Outcome::Conflict]);
}

#[test]
fn without_a_rewrite_the_log_is_emptied_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let store = block_on(SqliteStore::open_with(SqliteConfig::new(&path).vacuum_on_erase(false))).unwrap();
    block_on(store.commit(vec![full_commit(SECRET, 0)])).unwrap();
    act(&store, &[SECRET.to_owned()]);
    chat(&store, &[SECRET.to_owned()]);
    let log = dir.path().join("a.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    block_on(store.erase(&user(SECRET), at(5000))).unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(occurrences(dir.path(), SECRET), 0, "no page was split");
}
