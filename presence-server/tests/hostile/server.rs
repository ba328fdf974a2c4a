//! The real server on a real port over a real file.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use presence_core::{Activity, Beats, Rooms, SystemClock, Tracker};
use presence_server::{
    AppState, Front, Settings, jobs,
    serve::{Drained, Limits, listen, serve},
};
use presence_sqlite::{
    SqliteStore,
    rusqlite::{Connection, types::ValueRef},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, PATIENCE, post};

/// A server without jobs of its own: nothing is written that nobody asked for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: AppState,
    running: JoinHandle<std::io::Result<Drained>>,
    shutdown: CancellationToken,
    store: Arc<SqliteStore>,
    path: PathBuf,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("presence.db");
        let store = Arc::new(SqliteStore::open(&path).await.expect("a store"));
        let tracker = Tracker::new(store.clone(), SystemClock);
        let beats = Beats::new(tracker).backed_by(store.clone());
        let activity = Activity::new(store.clone(), SystemClock);
        let rooms = Rooms::new(store.clone(), SystemClock, "node-1");
        let state = AppState::new(beats, activity, rooms, Settings::default());
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, traffic) = (CancellationToken::new(), Arc::clone(state.traffic()));
        let running =
            tokio::spawn(serve(listener, Front::new(state.clone()), limits, traffic, shutdown.clone()));
        Self { address, state, running, shutdown, store, path, folder }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Everything that is kept: all tables as another connection sees them, row by row, and how many are online.
    pub(crate) async fn kept(&self) -> String {
        for flushed in [jobs::flush(&self.state).await, jobs::flush_members(&self.state).await] {
            flushed.expect("a store that works");
        }
        let online = self.state.beats().online_count(Duration::from_secs(86_400)).await;
        let online = online.expect("a store that works");
        let file = Connection::open(&self.path).expect("a second connection");
        format!("{online} online\n{}", dump(&file))
    }

    /// A client that does everything right is served.
    pub(crate) async fn assert_alive(&self) {
        let mut client = self.connect().await;
        let beat = post("/users/witness/heartbeat", "{}");
        for request in [beat.as_slice(), b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"] {
            client.send(request).await;
            assert_eq!(client.reader.answer().await.status, 200);
        }
    }

    /// Ends the server and closes the store, so that all that was begun is done; gives the file.
    pub(crate) async fn end(self) -> (TempDir, Connection) {
        self.shutdown.cancel();
        let ended = timeout(PATIENCE, self.running).await.expect("it ends in time");
        ended.expect("no panic").expect("a listener that works");
        drop(self.state);
        self.store.close().await;
        (self.folder, Connection::open(&self.path).expect("a file"))
    }
}

/// All tables, row by row.
fn dump(file: &Connection) -> String {
    let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("a file");
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("names");
    let mut dump = String::new();
    for table in tables.map(|table| table.expect("a name")) {
        let mut rows = file.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table");
        let columns = rows.column_count();
        let mut rows = rows.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let values = (0..columns).map(|column| row.get_ref(column).expect("a value"));
            let values: Vec<_> = values.map(|value: ValueRef<'_>| format!("{value:?}")).collect();
            dump.push_str(&format!("{table} {}\n", values.join(" ")));
        }
    }
    dump
}
