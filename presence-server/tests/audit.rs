//! `presence-server audit`, on files whose figures are right, and on those that somebody has touched.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use presence_core::{
    Activity, ActivityPolicy, ClientEvent, EventName, EventProperties, InstallId, ManualClock, Timestamp,
    UserId,
};
use presence_sqlite::{SqliteStore, rusqlite::Connection};

fn at(text: &str) -> Timestamp {
    Timestamp::from_datetime(text.parse::<DateTime<Utc>>().expect("an instant")).expect("in range")
}

fn opened(user: &str, province: &str, at: Timestamp) -> ClientEvent {
    let name = EventName::new("app_session_start").expect("a name");
    let properties = EventProperties::parse(&format!(r#"{{"province":"{province}"}}"#)).expect("an object");
    ClientEvent::new(name, InstallId::new(format!("phone-of-{user}")).expect("an install"))
        .by(UserId::new(user).expect("a user"))
        .with_properties(properties)
        .at(at)
}

/// A file with three days in May, the second of them without anybody.
async fn file(folder: &Path, policy: ActivityPolicy) {
    let store = Arc::new(SqliteStore::open(folder.join("presence.db")).await.expect("a store"));
    let clock = Arc::new(ManualClock::new(at("2024-05-31T12:00:00Z")));
    let activity = Activity::with_policy(store.clone(), clock, policy);
    let events = vec![
        opened("alice", "Hunan", at("2024-05-29T08:00:00Z")),
        opened("bob", "Hubei", at("2024-05-29T09:00:00Z")),
        opened("alice", "Hunan", at("2024-05-31T10:00:00Z")),
    ];
    let verdicts = activity.ingest(events).await.expect("a store that works");
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(activity.refold(8).await.expect("a store that works").days, 2);
    drop(activity);
    store.close().await;
}

fn audit(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    command.env_clear().current_dir(folder).env("DATABASE_URL", "sqlite:presence.db").arg("audit");
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn days_that_agree_are_shown_and_the_end_is_0() {
    let folder = tempfile::tempdir().expect("a folder");
    file(folder.path(), ActivityPolicy::default()).await;
    let (code, shown, said) = audit(folder.path(), &["2024-05-29", "2024-05-31"]);
    assert_eq!(
        shown,
        "day           stored  version     counted\n\
         2024-05-29         2        1           2  agree\n\
         2024-05-31         1        1           1  agree\n\
         2 agree, 1 empty\n"
    );
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (code, shown, _) = audit(folder.path(), &["2024-05-29"]);
    assert!(code == Some(0) && shown.ends_with("\n1 agree\n"), "{shown}");
    // The seven days up to today, on which nobody came.
    let (code, shown, _) = audit(folder.path(), &[]);
    assert!(code == Some(0) && shown.ends_with("\n7 empty\n"), "{shown}");
    let (code, shown, _) = audit(folder.path(), &["2014-01-01", "2024-12-31"]);
    assert!(code == Some(0) && shown.ends_with("\n2 agree, 4016 empty\n"), "{shown}");
}

#[tokio::test]
async fn a_day_that_somebody_touched_is_told_and_the_end_is_1() {
    let folder = tempfile::tempdir().expect("a folder");
    file(folder.path(), ActivityPolicy::default()).await;
    let change = |sql: &str| {
        let file = Connection::open(folder.path().join("presence.db")).expect("a file");
        assert_eq!(file.execute(sql, []).expect("written"), 1, "{sql}");
    };
    // The figures say one more.
    change("UPDATE analytics_daily_active_users SET dau_count = 2 WHERE day = '2024-05-31'");
    // The log lacks one.
    change("DELETE FROM analytics_event_log WHERE user_id = 'bob'");
    let (code, shown, said) = audit(folder.path(), &["2024-05-28", "2024-05-31"]);
    assert_eq!(
        shown,
        "day           stored  version     counted\n\
         2024-05-29         2        1           1  differ\n\
         \u{20}                  1                    0  province Hubei\n\
         2024-05-31         2        1           1  differ\n\
         2 differ, 2 empty\n"
    );
    assert_eq!((code, said.as_str()), (Some(1), "error: 2 of 4 days differ\n"));
    // Nothing was written.
    assert_eq!(audit(folder.path(), &["2024-05-28", "2024-05-31"]).1, shown);
}

#[tokio::test]
async fn what_waits_to_be_counted_is_no_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    file(folder.path(), ActivityPolicy::default()).await;
    let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await.expect("a store"));
    let clock = Arc::new(ManualClock::new(at("2024-05-31T13:00:00Z")));
    let activity = Activity::new(store.clone(), clock);
    let late =
        [at("2024-05-30T08:00:00Z"), at("2024-05-31T11:00:00Z")].map(|at| opened("carol", "Henan", at));
    assert!(activity.ingest(late.to_vec()).await.expect("a store that works").iter().all(Result::is_ok));
    drop(activity);
    store.close().await;
    let (code, shown, _) = audit(folder.path(), &["2024-05-29", "2024-05-31"]);
    assert_eq!(
        shown,
        "day           stored  version     counted\n\
         2024-05-29         2        1           2  agree\n\
         2024-05-30         -        -           1  wait to be counted anew\n\
         2024-05-31         1        1           2  wait to be counted anew\n\
         1 agree, 2 wait to be counted anew\n"
    );
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn days_that_are_no_longer_kept_are_no_difference() {
    let folder = tempfile::tempdir().expect("a folder");
    file(folder.path(), ActivityPolicy::default()).await;
    let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await.expect("a store"));
    let keep_events = Some(std::time::Duration::from_secs(86_400));
    let policy = ActivityPolicy { keep_events, ..ActivityPolicy::default() };
    let clock = Arc::new(ManualClock::new(at("2024-06-01T12:00:00Z")));
    let activity = Activity::with_policy(store.clone(), clock, policy);
    while activity.retain(1_000).await.expect("a store that works").more {}
    drop(activity);
    store.close().await;
    let (code, shown, _) = audit(folder.path(), &["2024-05-29", "2024-05-31"]);
    assert!(shown.contains("2024-05-29         -        -           -  no longer kept\n"), "{shown}");
    assert!(code == Some(0) && shown.ends_with("\n1 agree, 2 no longer kept\n"), "{shown}");
}

#[tokio::test]
async fn an_audit_says_why_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, said) = audit(folder.path(), &["2024-05-31"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nothing to audit") && !folder.path().join("presence.db").exists(), "{said}");
    for (arguments, exit, reason) in [
        (&["yesterday"][..], 2, "FIRST must be a day of the calendar"),
        (&["2024-05-31", "2024-02-30"], 2, "LAST must be a day"),
        (&["2024-05-31", "2024-05-30"], 2, "the last day of an audit lies before the first"),
    ] {
        let (code, _, said) = audit(folder.path(), arguments);
        assert!(code == Some(exit) && said.contains(reason), "{code:?} {said}");
    }
    let store = SqliteStore::open(folder.path().join("presence.db")).await.expect("a store");
    let (code, _, said) = audit(folder.path(), &["2024-05-31"]);
    assert!(code == Some(1) && said.contains(&std::process::id().to_string()), "it names the owner: {said}");
    store.close().await;
}
