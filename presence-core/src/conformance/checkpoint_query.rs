//! The promises of [`CheckpointQuery`](crate::CheckpointQuery).

use super::{
    Timelines,
    case::{at, commit, instants, row, rows, session, user, write},
};
use crate::{EventId, Fingerprint, Place, Record, Request, Row, StateType, UserId, Window};

fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).expect("in order")
}

/// Working from 1000, Idle from 1100, Working from 1160, Offline since 1400.
async fn a_day(store: &dyn Timelines) {
    let rows = vec![
        row(StateType::Working, 1000),
        row(StateType::Idle, 1100),
        row(StateType::Working, 1160),
        row(StateType::Offline, 1400),
    ];
    let mut all = commit("alice", rows);
    all.totals = vec![(StateType::Idle, 60), (StateType::Working, 340)];
    write(store, all).await;
}

async fn closed(store: &dyn Timelines, windows: &[Window]) -> Vec<Vec<(StateType, i64)>> {
    let facts = store.facts(&user("alice"), windows).await.expect("a store that works").expect("facts");
    assert_eq!(facts.session, session(store, "alice").await);
    let mut closed = facts.closed;
    closed.iter_mut().for_each(|sums| sums.sort());
    closed
}

/// See [`CheckpointQuery::facts`](crate::CheckpointQuery::facts).
pub async fn facts_clip_closed_time_to_each_window(store: &dyn Timelines) {
    a_day(store).await;
    let (idle, working) = (StateType::Idle, StateType::Working);
    let windows =
        [window(0, 1000), window(1000, 1050), window(1050, 1130), window(1130, 1200), window(1300, 9000)];
    assert_eq!(
        closed(store, &windows).await,
        [
            vec![],
            vec![(working.clone(), 50)],
            vec![(idle.clone(), 30), (working.clone(), 50)],
            vec![(idle, 30), (working.clone(), 40)],
            vec![(working, 100)],
        ]
    );
    assert_eq!(closed(store, &[window(1400, 1500)]).await, [vec![]], "what is open is not closed");
    assert_eq!(closed(store, &[window(1050, 1050)]).await, [vec![]]);
    assert_eq!(closed(store, &[]).await, Vec::<Vec<_>>::new());
    assert_eq!(store.facts(&user("nobody"), &[Window::all()]).await.expect("a store that works"), None);
}

/// See [`CheckpointQuery::facts`](crate::CheckpointQuery::facts).
pub async fn facts_of_all_time_equal_the_sum_of_their_parts(store: &dyn Timelines) {
    a_day(store).await;
    let all = closed(store, &[Window::all()]).await;
    assert_eq!(all, [vec![(StateType::Idle, 60), (StateType::Working, 340)]]);
    assert_eq!(closed(store, &[window(0, 1_000_000)]).await, all);
}

/// See [`CheckpointQuery::checkpoint`](crate::CheckpointQuery::checkpoint).
pub async fn a_checkpoint_is_found_under_its_user_only(store: &dyn Timelines) {
    let (_, ids) = write(store, commit("alice", vec![row(StateType::Working, 10)])).await;
    write(store, commit("bob", vec![row(StateType::Working, 10)])).await;
    let found = store.checkpoint(&user("alice"), ids[0]).await.expect("a store that works");
    assert_eq!(found.as_ref(), rows(store, "alice").await.first());
    assert_eq!(store.checkpoint(&user("bob"), ids[0]).await.expect("a store that works"), None);
    let unknown = crate::CheckpointId::new(i64::MAX).expect("positive");
    assert_eq!(store.checkpoint(&user("alice"), unknown).await.expect("a store that works"), None);
}

/// See [`CheckpointQuery::history`](crate::CheckpointQuery::history).
pub async fn history_is_newest_first_and_pages_without_gaps(store: &dyn Timelines) {
    let millis = [10, 20, 20, 20, 30, 40];
    write(store, commit("alice", millis.map(|millis| row(StateType::Idle, millis)).to_vec())).await;
    let mut expected = rows(store, "alice").await;
    expected.reverse();
    for limit in 1..=7 {
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .history(&user("alice"), Window::all(), before, limit)
                .await
                .expect("a store that works");
            before = page.last().map(|row| (row.at, row.id));
            let is_last = page.len() < limit;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, expected, "in pages of {limit}");
    }
    let inside = store.history(&user("alice"), window(20, 40), None, 9).await.expect("a store that works");
    assert_eq!(instants(&inside), [30, 20, 20, 20], "the window is half open");
    assert_eq!(store.history(&user("nobody"), Window::all(), None, 9).await.expect("a store that works"), []);
}

/// Reads an export in pages of every size, up to one that holds it with room to spare.
pub(super) async fn pages_without_gaps(store: &dyn Timelines, user: &UserId, everything: &[Record]) {
    for limit in 1..=everything.len().saturating_add(1) {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.export(user, after, limit).await.expect("a store that works");
            after = page.last().map(Record::place);
            let is_last = page.len() < limit;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, everything, "in pages of {limit}");
    }
}

/// See [`CheckpointQuery::export`](crate::CheckpointQuery::export).
pub async fn an_export_holds_everything_and_pages_without_gaps(store: &dyn Timelines) {
    let request = |name: &str| Request {
        event_id: EventId::new(name).expect("an event id"),
        fingerprint: Fingerprint::of(&[name.as_bytes()]),
        created: true,
    };
    // The last row in time has the lowest id: an export goes by time.
    let mut all = commit("alice", [30, 20, 10].map(|millis| row(StateType::Idle, millis)).to_vec());
    all.totals = vec![(StateType::Working, 5), (StateType::Idle, 7), (StateType::Sleeping, 0)];
    all.requests = vec![(request("b"), Row::Inserted(0)), (request("a"), Row::Inserted(1))];
    let (_, ids) = write(store, all).await;
    write(store, commit("bob", vec![row(StateType::Idle, 10)])).await;

    let everything = store.export(&user("alice"), None, 100).await.expect("a store that works");
    let places: Vec<_> = everything.iter().map(Record::place).collect();
    let mut expected = vec![Place::Session, Place::Total(StateType::Idle), Place::Total(StateType::Working)];
    let instants = [30, 20, 10].map(at).into_iter();
    expected.extend(instants.zip(ids.clone()).map(|(at, id)| Place::Checkpoint(at, id)).rev());
    expected.extend([request("a"), request("b")].map(|request| Place::Request(request.event_id)));
    assert_eq!(places, expected);
    assert_eq!(everything[0], Record::Session(session(store, "alice").await));
    assert_eq!(everything[1], Record::Total { state: StateType::Idle, duration_ms: 7 });
    assert_eq!(everything[6], Record::Request { request: request("a"), checkpoint: ids[1] });
    pages_without_gaps(store, &user("alice"), &everything).await;
    assert_eq!(store.export(&user("nobody"), None, 9).await.expect("a store that works"), []);
}
