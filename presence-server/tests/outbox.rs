//! `presence-server outbox`, on a directory that has everything in it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use presence_outbox::{Batch, DeliveryError, Outbox, OutboxConfig, SinkName, TrackingEvent};

const ID: &str = "1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d";

fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    // Whatever the configuration is: this is about a directory.
    command.env_clear().env("DATABASE_URL", "nonsense").arg("outbox").args(arguments).arg("--dir").arg(dir);
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn event(number: u64) -> TrackingEvent {
    TrackingEvent {
        event_id: number.to_string(),
        metadata_json: "{}".to_owned(),
        occurred_at_micros: 1_714_989_600_000_000 + i64::try_from(number).expect("small") * 1_000_000,
        ..TrackingEvent::default()
    }
}

fn config(dir: &Path) -> OutboxConfig {
    let sink = |name| SinkName::new(name).expect("a name");
    let config = OutboxConfig::new(dir).sink(sink("kafka")).sink(sink("webhook")).batch_size(3);
    config.reserve_bytes(0).flush_interval(Duration::from_secs(3600)).retention(Duration::MAX)
}

/// Three events are sealed, of which the webhook has refused the second; kafka has had one. Another is being written.
async fn fill(dir: &Path) -> Outbox<TrackingEvent> {
    let outbox = Outbox::open(config(dir)).await.expect("an outbox");
    for number in 1..=4 {
        assert!(outbox.enqueue(&event(number)).await.expect("a disk").is_enqueued());
    }
    let mut kafka = outbox.sink("kafka").expect("a sink");
    let batch = kafka.claim().await.expect("a batch");
    kafka.ack_first(batch, 1).await.expect("open");
    let mut webhook = outbox.sink("webhook").expect("a sink");
    while let Ok(Some(batch)) = webhook.try_claim().await {
        settle(&mut webhook, batch).await;
    }
    outbox
}

async fn settle(webhook: &mut presence_outbox::Sink<TrackingEvent>, batch: Batch<TrackingEvent>) {
    if batch.events().iter().any(|event| event.event_id == "2") {
        let reason = "410\u{1b}[31m \"no\"".to_owned();
        webhook.nack(batch, DeliveryError::Refused { reason }).await.expect("open");
    } else {
        webhook.ack(batch).await.expect("open");
    }
}

/// With the names that this run made up replaced.
fn settled(text: &str, dir: &Path) -> String {
    let names = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("a file").file_name());
    let mut text = text.to_owned();
    for name in names {
        let name = name.into_string().expect("text");
        let stem = name.split(['-', '.']).next().expect("a word").to_owned();
        if name.starts_with("sealed-") || name.starts_with("dead-") {
            // When it was sealed is the beginning of the name.
            text = text.replace(&name, &format!("{stem}-ID.ndjson"));
        }
    }
    text
}

#[tokio::test]
async fn a_directory_is_shown_while_it_is_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("outbox");
    let outbox = fill(&dir).await;
    fs::write(dir.join(format!("corrupt-{ID}-active.ndjson")), "{torn\n").expect("a disk");
    fs::write(dir.join("a\nb"), "mine").expect("a disk");
    let (code, shown, said) = run(&dir, &["ls"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let lines: Vec<String> = settled(&shown, &dir).lines().map(masked).collect();
    assert_eq!(
        lines,
        [
            "kind        events   bad       bytes  sealed                oldest event          newest event          file",
            "active           1     0         148  -                     2024-05-06T10:00:04Z  2024-05-06T10:00:04Z  active.ndjson",
            "sealed           3     0         444  (now)                 2024-05-06T10:00:01Z  2024-05-06T10:00:03Z  sealed-ID.ndjson",
            "                   kafka: 1 line done",
            "                   webhook: 3 lines done",
            "corrupt          0     1           6  2023-11-14T22:13:20Z  -                     -                     corrupt-1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d-active.ndjson",
            "dead             1     0         270  (now)                 2024-05-06T10:00:02Z  2024-05-06T10:00:02Z  dead-ID.ndjson",
            "                   webhook: 1 refused, \"410\\u{1b}[31m \\\"no\\\"\"",
            "foreign          -     -           4  -                     -                     -                     a\\nb",
            "4 events in 592 bytes wait, 1 are dead, 1 lines are aside",
        ]
    );
    drop(outbox);
}

/// The instant of this run is left out.
fn masked(line: &str) -> String {
    let is_now = line.contains("-ID.ndjson");
    let place = 38..58;
    match line.get(place.clone()) {
        Some(_) if is_now => format!("{}{:<20}{}", &line[..place.start], "(now)", &line[place.end..]),
        _ => line.to_owned(),
    }
}

#[tokio::test]
async fn damage_is_said_and_the_end_is_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("outbox");
    fill(&dir).await.close();
    let (code, shown, said) = run(&dir, &["fsck"]);
    assert_eq!((code, shown.as_str(), said.as_str()), (Some(0), "5 files, 5 lines: no damage\n", ""));

    let sealed = format!("sealed-{ID}.ndjson");
    fs::write(dir.join(&sealed), "{\"event\":7,\"crc\":\"00000000\"}\n").expect("a disk");
    let (code, shown, said) = run(&dir, &["fsck"]);
    assert_eq!(shown, format!("{sealed}:1: the line does not fit its checksum\n6 files, 6 lines: damaged\n"));
    assert_eq!((code, said.as_str()), (Some(1), "error: the directory is damaged\n"));
}

#[tokio::test]
async fn what_was_put_aside_comes_back_once_nobody_uses_the_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("outbox");
    let outbox = fill(&dir).await;
    let (code, shown, said) = run(&dir, &["requeue"]);
    let holder = format!("error: the directory is in use by process {}\n", std::process::id());
    assert_eq!((code, shown.as_str(), said), (Some(1), "", holder));

    outbox.close();
    fs::write(dir.join(format!("corrupt-{ID}-active.ndjson")), "{torn\n{\"event\":7}\n").expect("a disk");
    let (code, shown, said) = run(&dir, &["requeue"]);
    assert_eq!(shown, "2 events of 2 files wait again, 1 lines cannot be read and stay\n");
    assert_eq!((code, said.as_str()), (Some(0), ""));

    let outbox = Outbox::open(config(&dir)).await.expect("an outbox");
    let mut webhook = outbox.sink("webhook").expect("a sink");
    let mut ids = Vec::new();
    while let Ok(Some(batch)) = webhook.try_claim().await {
        ids.extend(batch.events().iter().map(|event: &TrackingEvent| event.event_id.clone()));
        webhook.ack(batch).await.expect("open");
    }
    assert_eq!(ids, ["4", "2"]);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_none_is_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("outbox");
    for task in ["ls", "fsck", "requeue"] {
        let (code, shown, said) = run(&dir, &[task]);
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{task}");
        assert!(said.starts_with(&format!("error: {}: ", dir.display())), "{said}");
        assert!(!dir.exists());
    }
    let (code, _, said) = run(&dir, &["melt"]);
    assert!(code == Some(2) && said.contains("melt"), "{said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
    let Output { status, .. } = command.args(["outbox", "ls"]).output().expect("it starts");
    assert_eq!(status.code(), Some(2));
}
