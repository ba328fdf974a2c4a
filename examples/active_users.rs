//! Who was active, day by day and over the week, without our server. `cargo run --example active_users`.
//!
//! An app reports events; the figures follow from the facts that they leave, in any order and however often they come.

use std::{sync::Arc, time::Duration};

use presence_core::{
    Activity, ActivityPolicy, ClientEvent, Clock, EventId, EventName, EventProperties, InstallId, Interval,
    ManualClock, Period, TimeWindow, Timestamp, UserId, Window, Zone,
};
use presence_sqlite::SqliteStore;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(folder.path().join("presence.db")).await?);
    // Days are those of Shanghai. A week is told by a clock that we move; yours is `SystemClock`.
    let clock = Arc::new(ManualClock::new("2026-11-16T01:00:00Z".parse().map(Timestamp::from_datetime)??));
    let policy = ActivityPolicy { zone: Zone::new("Asia/Shanghai")?, ..ActivityPolicy::default() };
    let activity = Activity::with_policy(store.clone(), clock.clone(), policy);

    let monday = clock.now();
    for day in 0..5 {
        clock.set(monday.saturating_add(Duration::from_secs(day * 86_400)));
        let earlier = |minutes: u64| clock.now().saturating_sub(Duration::from_secs(minutes * 60));
        let mut batch = vec![
            // Alice opens the app before she logs in, and later on her tablet: she is one person, and where she was last.
            opened("alices-phone", None, "Hunan", earlier(50))?,
            opened("alices-phone", Some("alice"), "Hunan", earlier(49))?,
            opened("alices-tablet", Some("alice"), "Hubei", earlier(10))?,
            // A kiosk, where nobody is known.
            opened("kiosk-0042", None, "Guangdong", earlier(30))?,
        ];
        if day % 2 == 0 {
            batch.push(opened("bobs-phone", Some("bob"), "Guangdong", earlier(20))?);
        }
        for verdict in activity.ingest(batch.clone()).await? {
            assert!(verdict?.is_counted);
        }
        // The answer was lost, and the app sends it all again.
        for verdict in activity.ingest(batch).await? {
            assert!(!verdict?.is_new);
        }
        // A job would do these: figures of the days that have news, and a snapshot of the online count.
        activity.refold(8).await?;
        activity.snapshot(2 + day % 2, TimeWindow::from_secs(180)?).await?;
    }

    let friday = activity.today();
    for stats in activity.stats(Period::week(friday)?).await? {
        println!("{}  {} people  {:?}", stats.day, stats.active.count, stats.active.by_province);
    }
    let week = activity.active_users(Period::week(friday)?).await?;
    println!("the week    {} people  {:?}", week.count, week.by_province);
    let audit = activity.audit(friday).await?;
    println!(
        "the event log says {} for {friday}: {}",
        audit.folded.count,
        if audit.agrees() { "agreed" } else { "no" }
    );

    let online = Window::new(monday, clock.now().saturating_add(Duration::from_secs(3600)))?;
    for point in activity.online_history(online, Interval::Hour).await? {
        println!("{}  {} online, {} at most", point.at, point.count, point.peak);
    }
    drop(activity);
    store.close().await;
    assert_eq!((week.count, week.by_province.get("Hubei")), (3, Some(&1)));
    assert!(audit.agrees());
    Ok(())
}

/// The app was opened: on which install, by whom, where and when. Its id makes a repetition harmless.
fn opened(install: &str, user: Option<&str>, province: &str, at: Timestamp) -> Result<ClientEvent, Failure> {
    let properties = EventProperties::parse(&format!(r#"{{"province": "{province}"}}"#))?;
    let event = ClientEvent::new(EventName::new("app_session_start")?, InstallId::new(install)?)
        .at(at)
        .with_event_id(EventId::new(format!("{}-{install}", at.as_secs()))?)
        .with_properties(properties);
    Ok(match user {
        Some(user) => event.by(UserId::new(user)?),
        None => event,
    })
}
