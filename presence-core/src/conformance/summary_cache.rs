//! The promises of [`SummaryCache`](crate::SummaryCache).

use super::{
    Summaries,
    case::{at, commit, commit_on, row, session, user, write},
};
use crate::{ClosedDay, Commit, Fold, Kept, Mark, Outcome, StateType, Timestamp, Version, Window};

const WORKING: StateType = StateType::Working;

fn window(from: i64, to: i64) -> Window {
    Window::new(at(from), at(to)).expect("in order")
}

/// A day of 100 ms.
fn day(number: i64, closed: &[(StateType, i64)]) -> ClosedDay {
    ClosedDay { window: window(number * 100, (number + 1) * 100), closed: closed.to_vec() }
}

fn days(numbers: &[i64]) -> Vec<ClosedDay> {
    numbers.iter().map(|number| day(*number, &[(WORKING, *number)])).collect()
}

fn mark(zone: &str, resume: i64, due: i64) -> Mark {
    Mark { zone: zone.to_owned(), resume_at: at(resume), due_at: at(due) }
}

/// A user whose session is known, with a row at the end.
async fn known(store: &dyn Summaries, name: &str) -> Version {
    write(store, commit(name, vec![row(WORKING, 1000)])).await.0
}

/// A fold in UTC up to 1000.
fn fold(name: &str, version: Version, days: Vec<ClosedDay>) -> Fold {
    Fold { user: user(name), version, mark: mark("UTC", 1000, 1100), days, at: at(5000) }
}

async fn keep(store: &dyn Summaries, fold: Fold) -> bool {
    let kept = store.keep(vec![fold]).await.expect("a store that works");
    assert_eq!(kept.len(), 1, "one answer per fold");
    kept[0]
}

async fn kept(store: &dyn Summaries, name: &str) -> Vec<ClosedDay> {
    let kept = store.kept(&user(name), Window::all()).await.expect("a store that works");
    kept.map(|kept| kept.days).unwrap_or_default()
}

async fn mark_of(store: &dyn Summaries, name: &str) -> Option<Mark> {
    let marks = store.marks(None, 100).await.expect("a store that works");
    marks.into_iter().find(|(session, _)| session.user == user(name)).and_then(|(_, mark)| mark)
}

/// A commit of the next version that says what it changes.
async fn change(store: &dyn Summaries, name: &str, changed: Option<Window>) {
    let session = session(store, name).await;
    write(store, Commit { changed, ..commit_on(&session, vec![row(WORKING, 1000)]) }).await;
}

/// See [`SummaryCache`](crate::SummaryCache).
pub async fn a_commit_forgets_the_days_it_changes(store: &dyn Summaries) {
    for name in ["alice", "bob"] {
        let version = known(store, name).await;
        assert!(keep(store, fold(name, version, days(&[1, 2, 3, 4, 5]))).await);
    }
    change(store, "alice", None).await;
    assert_eq!(kept(store, "alice").await, days(&[1, 2, 3, 4, 5]), "what only adds forgets nothing");
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 1000, 1100)));
    change(store, "alice", Some(window(1000, 1200))).await;
    assert_eq!(kept(store, "alice").await, days(&[1, 2, 3, 4, 5]), "nothing was folded there");
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 1000, 1100)));
    change(store, "alice", Some(window(300, 400))).await;
    assert_eq!(kept(store, "alice").await, days(&[1, 2, 4, 5]), "both ends stay outside");
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 300, 0)));
    change(store, "alice", Some(window(499, 501))).await;
    assert_eq!(kept(store, "alice").await, days(&[1, 2]), "behind an earlier change, and in part");
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 300, 0)), "the earlier one counts");
    change(store, "alice", Some(window(0, 150))).await;
    assert_eq!(kept(store, "alice").await, days(&[2]));
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 0, 0)));
    assert_eq!(kept(store, "bob").await, days(&[1, 2, 3, 4, 5]), "others keep theirs");

    // A fold of the first part only: what lies behind it is still kept, and still forgotten where it changes.
    let version = session(store, "bob").await.version;
    let part = Fold { mark: mark("UTC", 200, 0), ..fold("bob", version, days(&[1])) };
    assert!(keep(store, part).await);
    change(store, "bob", Some(window(350, 360))).await;
    assert_eq!(kept(store, "bob").await, days(&[1, 2, 4, 5]));
    assert_eq!(mark_of(store, "bob").await, Some(mark("UTC", 200, 0)));
}

/// See [`SummaryCache`](crate::SummaryCache).
pub async fn a_commit_that_conflicts_forgets_nothing(store: &dyn Summaries) {
    let version = known(store, "alice").await;
    assert!(keep(store, fold("alice", version, days(&[1, 2]))).await);
    let mut stale = session(store, "alice").await;
    stale.version = Version(i64::MAX);
    let late = Commit { changed: Some(window(0, 1000)), ..commit_on(&stale, vec![row(WORKING, 150)]) };
    assert_eq!(store.commit(vec![late]).await.expect("a store that works"), [Outcome::Conflict]);
    assert_eq!(kept(store, "alice").await, days(&[1, 2]));
    assert_eq!(mark_of(store, "alice").await, Some(mark("UTC", 1000, 1100)));
}

/// See [`SummaryCache`](crate::SummaryCache).
pub async fn an_erasure_forgets_every_day_and_the_mark(store: &dyn Summaries) {
    for name in ["alice", "bob"] {
        let version = known(store, name).await;
        assert!(keep(store, fold(name, version, days(&[1, 2]))).await);
    }
    store.erase(&user("alice"), at(10)).await.expect("a store that works");
    assert_eq!(store.kept(&user("alice"), Window::all()).await.expect("a store that works"), None);
    let marks = store.marks(None, 10).await.expect("a store that works");
    assert_eq!(marks.len(), 1, "there is nobody to go by");
    let anew = Commit { erased_at: Some(at(10)), ..commit("alice", vec![row(WORKING, 20)]) };
    write(store, anew).await;
    assert_eq!(kept(store, "alice").await, []);
    assert_eq!(mark_of(store, "alice").await, None);
    assert_eq!(kept(store, "bob").await, days(&[1, 2]));
}

/// See [`SummaryCache::marks`](crate::SummaryCache::marks).
pub async fn marks_page_over_all_users_in_order(store: &dyn Summaries) {
    let names = ["Ünter", "alice", "bob", "Bob", "日本"];
    for name in names {
        known(store, name).await;
    }
    let version = session(store, "bob").await.version;
    assert!(keep(store, fold("bob", version, Vec::new())).await, "a fold without days leaves its mark");
    let mut expected = Vec::new();
    for name in names {
        let mark = (name == "bob").then(|| mark("UTC", 1000, 1100));
        expected.push((session(store, name).await, mark));
    }
    expected.sort_by(|a, b| a.0.user.cmp(&b.0.user));
    for limit in 1..=6 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.marks(after.as_ref(), limit).await.expect("a store that works");
            after = page.last().map(|(session, _)| session.user.clone());
            let is_last = page.len() < limit;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, expected, "in pages of {limit}");
    }
}

/// See [`SummaryCache::keep`](crate::SummaryCache::keep).
pub async fn kept_days_come_back_as_they_were_folded(store: &dyn Summaries) {
    let version = known(store, "alice").await;
    let states =
        ["Idle", "Working", "a'b\"c", "Ünterwegs"].map(|name| StateType::new(name).expect("a state"));
    let folded = vec![
        day(1, &states.clone().map(|state| (state, 25))),
        // Of any length, and with room before the next one.
        ClosedDay { window: window(200, 290), closed: vec![(states[0].clone(), i64::from(i32::MAX))] },
        day(7, &[(states[3].clone(), 1)]),
    ];
    assert!(keep(store, fold("alice", version, folded.clone())).await);
    let expected = Some(Kept { version, days: folded });
    assert_eq!(store.kept(&user("alice"), Window::all()).await.expect("a store that works"), expected);
    assert_eq!(session(store, "alice").await.version, version, "a fold is no change");
    let nobody = store.kept(&user("nobody"), Window::all()).await.expect("a store that works");
    assert_eq!(nobody, None);
}

/// See [`SummaryCache::keep`](crate::SummaryCache::keep).
pub async fn a_fold_of_another_version_is_not_kept(store: &dyn Summaries) {
    let first = known(store, "alice").await;
    change(store, "alice", None).await;
    let now = session(store, "alice").await.version;
    let folds = vec![
        fold("alice", first, days(&[1])),
        fold("nobody", first, days(&[1])),
        fold("alice", now, days(&[2])),
    ];
    assert_eq!(store.keep(folds).await.expect("a store that works"), [false, false, true]);
    assert_eq!(kept(store, "alice").await, days(&[2]));
    assert_eq!(kept(store, "nobody").await, []);
}

/// See [`SummaryCache::keep`](crate::SummaryCache::keep).
pub async fn a_fold_replaces_the_days_between_its_first_and_last(store: &dyn Summaries) {
    let version = known(store, "alice").await;
    let before: Vec<_> = (1..=6).map(|number| day(number, &[(StateType::Idle, 1), (WORKING, 2)])).collect();
    assert!(keep(store, fold("alice", version, before.clone())).await);
    assert!(keep(store, fold("alice", version, days(&[3, 5]))).await);
    let mut expected = vec![before[0].clone(), before[1].clone(), day(3, &[(WORKING, 3)])];
    expected.extend([day(5, &[(WORKING, 5)]), before[5].clone()]);
    assert_eq!(kept(store, "alice").await, expected);
    assert!(keep(store, fold("alice", version, Vec::new())).await);
    assert_eq!(kept(store, "alice").await, expected, "a fold without days replaces none");
}

/// See [`SummaryCache::keep`](crate::SummaryCache::keep).
pub async fn a_fold_in_another_zone_forgets_the_days_of_the_one_before(store: &dyn Summaries) {
    for name in ["alice", "bob"] {
        let version = known(store, name).await;
        assert!(keep(store, fold(name, version, days(&[1, 2, 3]))).await);
    }
    let version = session(store, "alice").await.version;
    let elsewhere = Fold { mark: mark("Asia/Tokyo", 250, 0), ..fold("alice", version, days(&[1])) };
    assert!(keep(store, elsewhere).await);
    assert_eq!(kept(store, "alice").await, days(&[1]));
    assert_eq!(mark_of(store, "alice").await, Some(mark("Asia/Tokyo", 250, 0)));
    change(store, "alice", Some(window(260, 270))).await;
    assert_eq!(mark_of(store, "alice").await, Some(mark("Asia/Tokyo", 250, 0)), "nothing was folded there");
    assert_eq!(kept(store, "bob").await, days(&[1, 2, 3]));
}

/// See [`SummaryCache::kept`](crate::SummaryCache::kept).
pub async fn only_whole_days_inside_the_window_come_back(store: &dyn Summaries) {
    let version = known(store, "alice").await;
    assert!(keep(store, fold("alice", version, days(&[1, 2, 3, 4]))).await);
    for (within, expected) in [
        (window(200, 400), days(&[2, 3])),
        (window(199, 401), days(&[2, 3])),
        (window(201, 400), days(&[3])),
        (window(200, 399), days(&[2])),
        (window(250, 260), vec![]),
        (window(300, 300), vec![]),
        (Window::new(Timestamp::MIN, at(200)).expect("in order"), days(&[1])),
    ] {
        let kept = store.kept(&user("alice"), within).await.expect("a store that works").expect("alice");
        assert_eq!(kept.days, expected, "{within:?}");
    }
}
