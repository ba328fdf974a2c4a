//! A server on one of the stores, composed as the process composes it, with a clock that is moved by hand.

use std::{fmt::Write, net::SocketAddr, sync::Arc};

use presence_core::{Activity, Beats, ManualClock, MemoryStore, Rooms, Timestamp, Tracker};
use presence_postgres_testing::Database;
use presence_server::{
    AppState, Front, Settings, jobs,
    serve::{Limits, listen, serve},
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};
use presence_sqlx::{PostgresConfig, PostgresStore};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    BEGIN,
    client::{Answer, Client},
    life::{Job, Operation},
};

pub(crate) struct Node {
    clock: Arc<ManualClock>,
    state: AppState,
    address: SocketAddr,
    client: Client,
    /// The ids of checkpoints in the order in which they were shown.
    ids: Vec<i64>,
    /// The same of events, which are counted apart.
    events: Vec<i64>,
    /// What goes away with the server.
    _place: Place,
}

enum Place {
    Memory,
    Folder { _folder: TempDir },
    Database { _database: Database },
}

impl Node {
    pub(crate) async fn in_memory() -> Self {
        let (clock, store) = (clock(), Arc::new(MemoryStore::new()));
        let tracker = Tracker::new(store.clone(), clock.clone()).cached_by(store.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        Self::start(clock, Beats::new(tracker).living_in(store.live_set()), activity, rooms, Place::Memory)
            .await
    }

    pub(crate) async fn on_sqlite() -> Self {
        let (clock, folder) = (clock(), tempfile::tempdir().expect("a folder"));
        // Nobody pulls a plug here.
        let config = SqliteConfig::new(folder.path().join("presence.db")).durability(Durability::Process);
        let store = Arc::new(SqliteStore::open_with(config).await.expect("a store"));
        let tracker = Tracker::new(store.clone(), clock.clone()).cached_by(store.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        let place = Place::Folder { _folder: folder };
        Self::start(clock, Beats::new(tracker).backed_by(store), activity, rooms, place).await
    }

    pub(crate) async fn on_postgres() -> Self {
        let (clock, database) = (clock(), Database::create());
        let config = PostgresConfig::new(database.url()).expect("a URL");
        let store = Arc::new(PostgresStore::connect(config).await.expect("a store"));
        let tracker = Tracker::new(store.clone(), clock.clone()).cached_by(store.clone());
        let activity = Activity::new(store.clone(), clock.clone());
        let rooms = Rooms::new(store.clone(), clock.clone(), "node-1");
        let place = Place::Database { _database: database };
        Self::start(clock, Beats::new(tracker).shared_with(store), activity, rooms, place).await
    }

    async fn start(
        clock: Arc<ManualClock>,
        beats: Beats,
        activity: Activity,
        rooms: Rooms,
        place: Place,
    ) -> Self {
        let settings = Settings { durability: "fsync", ..Settings::default() };
        let state = AppState::new(beats, activity, rooms, settings);
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let traffic = Arc::clone(state.traffic());
        // It ends with the test's runtime.
        tokio::spawn(serve(
            listener,
            Front::new(state.clone()),
            Limits::default(),
            traffic,
            CancellationToken::new(),
        ));
        Self {
            clock,
            state,
            address,
            client: Client::connect(address).await,
            ids: Vec::new(),
            events: Vec::new(),
            _place: place,
        }
    }

    /// Does one thing, and tells what came of it, without what may differ: the ids of requests, and those of
    /// checkpoints, in whose place the order stands in which they were shown.
    pub(crate) async fn take(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Ask { request, .. } => {
                let request = self.with_ids(request);
                let answer = self.client.ask(request.as_bytes()).await;
                self.told(answer).await
            }
            Operation::Raw(case) => {
                // Some of these break their connection.
                let mut client = Client::connect(self.address).await;
                client.send(&case.bytes).await;
                if case.is_half_closed {
                    client.finish().await;
                }
                let mut answer = client.reader.answer().await;
                if answer.status == 100 {
                    answer = client.reader.answer().await;
                }
                self.told(answer).await
            }
            Operation::Pass(span) => {
                self.clock.set(self.state.tracker().now().saturating_add(*span));
                self.state.tracker().now().to_string()
            }
            Operation::Step(job) => {
                let done = match job {
                    Job::Flush => jobs::flush_members(&self.state).await.and(jobs::flush(&self.state).await),
                    Job::Sweep => jobs::sweep(&self.state).await,
                    Job::Evict => jobs::evict(&self.state).await,
                    Job::Summarise => jobs::summarise(&self.state).await,
                    Job::Refold => jobs::refold(&self.state).await,
                    Job::CatchUp => jobs::catch_up(&self.state).await,
                    Job::Snapshot => jobs::snapshot(&self.state).await,
                };
                format!("{done:?}")
            }
        }
    }

    async fn told(&mut self, answer: Answer) -> String {
        let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut headers: Vec<_> =
            lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        headers.retain(|(name, _)| name != "date" && name != "x-request-id");
        headers.sort();
        if headers.contains(&("connection".to_owned(), "close".to_owned())) {
            self.client = Client::connect(self.address).await;
        }
        let mut told = format!("{} ", answer.status);
        for (name, value) in headers {
            // A length depends on how many digits an id has.
            if name != "content-length" {
                writeln!(told, "{name}: {value}").expect("written");
            }
        }
        told.push_str(std::str::from_utf8(&answer.body).expect("text"));
        let told =
            replaced(&told, "\"request_id\":\"", |text| text.find('"').map(|end| (String::new(), end)));
        let of_event = "\"kind\":\"event\",\"id\":";
        let told = replaced(&told, of_event, |text| rank(&mut self.events, text, '@'));
        let told = replaced(&told, "\"id\":", |text| rank(&mut self.ids, text, '#'));
        let told = replaced(&told, "\"checkpoint\":", |text| rank(&mut self.ids, text, '#'));
        replaced(&told, "cursor=", |text| {
            let (instant, id) = text.split_once('-')?;
            let (rank, length) = rank(&mut self.ids, id, '#')?;
            let is_instant = instant.bytes().all(|byte| byte.is_ascii_digit());
            is_instant.then(|| (format!("{instant}-{rank}"), instant.len() + 1 + length))
        })
    }

    /// The text with this server's ids in place of their ranks.
    fn with_ids(&self, text: &str) -> String {
        replaced(text, "#", |rest| {
            let (rank, _) = rest.split_once('#')?;
            let id = self.ids.get(rank.parse::<usize>().ok()?)?;
            Some((id.to_string(), rank.len() + 1))
        })
        .replace('#', "")
    }
}

/// The rank that stands for the id at the beginning of a text, between marks, and how long the id is.
fn rank(ids: &mut Vec<i64>, text: &str, mark: char) -> Option<(String, usize)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let id: i64 = text[..length].parse().ok()?;
    let rank = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
        ids.push(id);
        ids.len() - 1
    });
    Some((format!("{mark}{rank}{mark}"), length))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_secs(BEGIN).expect("an instant")))
}

/// Replaces what follows each `mark`: the function says by what, and how much of it.
fn replaced(text: &str, mark: &str, mut by: impl FnMut(&str) -> Option<(String, usize)>) -> String {
    let (mut told, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(place) = rest.find(mark) {
        let (before, after) = rest.split_at(place + mark.len());
        told.push_str(before);
        rest = after;
        if let Some((replacement, length)) = by(after) {
            told.push_str(&replacement);
            rest = &after[length..];
        }
    }
    told + rest
}
