//! Events in, figures out, across kills and nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::LazyLock,
    thread,
    time::Duration,
};

use presence_core::{Clock as _, SystemClock};
use presence_postgres_testing::Database;

use crate::server::{Acknowledged, Client, PATIENCE, Server, export, walked};

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
