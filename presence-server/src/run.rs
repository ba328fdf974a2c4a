//! The server as a process: store, jobs, port, and an end in order.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use presence_core::StoreError;
use presence_sqlx::PostgresStore;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "kafka")]
use crate::stream::{Stream, StreamError};
use crate::{
    AppState, Front, Settings,
    callbacks::EndpointError,
    config::Config,
    deliveries::Deliveries,
    jobs::{self, Rhythm},
    serve::{Limits, listen, serve},
    storage::{Storage, StorageError, Store},
    tracking_outbox::TrackingOutbox,
};

/// How often members whom no window reaches any more are forgotten.
const EVICTION: Duration = Duration::from_secs(60);
/// How often it is looked whether there are days to count anew.
const REFOLD: Duration = Duration::from_secs(1);
/// How often it is looked whether a day has ended on which nobody came.
const CATCHING_UP: Duration = Duration::from_secs(600);
/// How often what is too old is let go of.
const RETENTION: Duration = Duration::from_secs(3600);
/// How often the database is asked for the time: clocks of machines drift by a few milliseconds in it.
const SAMPLING: Duration = Duration::from_secs(10);
/// How long after it broke the connection that calls to sweep is opened again.
const RECONNECT: Duration = Duration::from_secs(5);
/// How often an open server says that it is open.
const REMINDER: Duration = Duration::from_secs(60);

/// Why the server ended, or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The store does not open; nothing was changed.
    #[error("the store does not open")]
    Open(#[from] StorageError),
    /// Callbacks cannot be made.
    #[error("callbacks cannot be made")]
    Callbacks(#[from] EndpointError),
    /// The event stream cannot be made.
    #[cfg(feature = "kafka")]
    #[error("the event stream cannot be made")]
    Stream(#[from] StreamError),
    /// The store failed at the start or at the end.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The port failed.
    #[error("the server failed")]
    Serve(#[source] io::Error),
    /// The directory of the tracking outbox cannot be had; nothing was changed.
    #[error("the tracking outbox does not open")]
    TrackingOutbox(#[source] presence_outbox::OpenError),
    /// A job ended though nobody stopped it.
    #[error("the job {0} died")]
    Job(&'static str),
}

/// Runs a server until the process is told to end: [`Server::open`] and [`Server::serve`].
///
/// # Errors
///
/// [`RunError`] says what ended it.
pub async fn run(config: Config) -> Result<(), RunError> {
    Server::open(config).await?.serve().await
}

/// A server whose store is open and whose port is taken. Who connects waits until it serves.
#[derive(Debug)]
pub struct Server {
    config: Config,
    state: AppState,
    store: Store,
    deliveries: Deliveries,
    #[cfg(feature = "kafka")]
    stream: Option<Stream>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the store, reads who is online, and takes the port.
    ///
    /// # Errors
    ///
    /// The store does not open or fails, or the port is not to be had. What was opened is closed again.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        let storage = Storage::open(&config).await?;
        let store = storage.store;
        if !config.store().outlives_process() {
            tracing::warn!("everything is in memory, and gone when the process ends: set DATABASE_URL");
        }
        // On a shared store the roster is asked for, and not kept here.
        let members = match store {
            Store::Postgres { .. } => 0,
            _ => storage.beats.load().await?,
        };
        let settings = Settings {
            zone: config.zone().clone(),
            durability: storage.durability,
            access: config.access(),
            cors_origins: config.cors_origins(),
            max_in_flight: config.max_in_flight() as usize,
            room_activity_is_heartbeat: config.room_activity_is_heartbeat(),
        };
        let mut state = AppState::new(storage.beats, storage.activity, storage.rooms, settings)
            .with_outbox(storage.outbox.clone());
        if let Store::Sqlite(sqlite) = &store {
            state = state.showing(Arc::clone(sqlite));
        }
        if let Some((outbox, durability)) = config.tracking_outbox() {
            let outbox = TrackingOutbox::open(outbox, durability).await.map_err(RunError::TrackingOutbox)?;
            state = state.with_tracking_outbox(outbox);
        }
        let (outbox, clock, node) = (storage.outbox, storage.clock, storage.node);
        // Before the port opens: nothing happens that the sinks do not hear of.
        let deliveries = Deliveries::new(&config.callbacks(), outbox, clock, node, &state)?;
        #[cfg(feature = "kafka")]
        let (stream, deliveries) = match config.kafka() {
            Some(kafka) => Stream::new(&kafka, deliveries).map(|(stream, all)| (Some(stream), all))?,
            None => (None, deliveries),
        };
        let address = config.bind();
        let failed = |cause| RunError::Listen { address, cause };
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(members, "{}", config.summary());
        if deliveries.is_any() {
            tracing::info!("callbacks: {}", deliveries.summary());
        }
        Ok(Self {
            config,
            state,
            store,
            deliveries,
            #[cfg(feature = "kafka")]
            stream,
            listener,
            address,
        })
    }

    /// What the routes share.
    #[must_use]
    pub const fn state(&self) -> &AppState {
        &self.state
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process is told to end (SIGTERM or SIGINT): what has begun is finished, what is in memory is
    /// written, and the store is closed. Told a second time, the process ends at once; what was acknowledged as durable
    /// is.
    ///
    /// # Errors
    ///
    /// The port or the store failed, or a job died.
    pub async fn serve(self) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let jobs = start_jobs(&self.config, &self.state, &self.store, &stop);
        self.serve_beside(jobs, stop).await
    }

    /// Serves until the process is told to end, or one of the jobs does, which `stop` ends.
    async fn serve_beside(
        self,
        mut jobs: JoinSet<&'static str>,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        let Self {
            config,
            state,
            store,
            deliveries,
            #[cfg(feature = "kafka")]
            stream,
            listener,
            address,
        } = self;
        #[cfg(feature = "kafka")]
        stream.into_iter().for_each(|stream| stream.start(&state, &stop, &mut jobs));
        // Before it says that it listens: whoever reads that may tell it to end.
        let told = told_to_end();
        tracing::info!("listening on http://{address}");
        // These go on until the last room has told its end.
        let stop_deliveries = CancellationToken::new();
        let mut delivering = JoinSet::new();
        deliveries.start(&state, &stop_deliveries, &mut delivering);
        let limits = Limits { max_connections: config.max_connections() as usize, ..Limits::default() };
        let traffic = Arc::clone(state.traffic());
        let mut serving =
            std::pin::pin!(serve(listener, Front::new(state.clone()), limits, traffic, stop.clone()));
        let mut died = None;
        let served = tokio::select! {
            // The port is broken; what was said in rooms is not.
            served = &mut serving => {
                state.hub().drain(ROOMS).await;
                served
            }
            () = told => {
                tracing::info!("ending: no new requests");
                end_at_once_when_told();
                stop.cancel();
                // A WebSocket is nobody's request any more: its room closes it.
                tokio::join!(&mut serving, state.hub().drain(ROOMS)).0
            }
            ended = next_end(&mut jobs, &mut delivering) => {
                let job = ended.and_then(Result::ok).unwrap_or("that panicked");
                tracing::error!(job, "a job died: ending");
                died = Some(RunError::Job(job));
                end_at_once_when_told();
                stop.cancel();
                tokio::join!(&mut serving, state.hub().drain(ROOMS)).0
            }
        };
        stop.cancel();
        stop_deliveries.cancel();
        while jobs.join_next().await.is_some() {}
        while delivering.join_next().await.is_some() {}
        // Neither waits for the other's trouble.
        let (beats, members) = tokio::join!(jobs::flush(&state), jobs::flush_members(&state));
        if let Some(outbox) = state.tracking_outbox() {
            outbox.close();
        }
        drop(state);
        store.close().await;
        if let Some(died) = died {
            return Err(died);
        }
        beats.and(members)?;
        let drained = served.map_err(RunError::Serve)?;
        tracing::info!(?drained, "ended");
        Ok(())
    }
}

/// The end of a task of either kind; none is to end by itself. Where nothing leaves, nothing delivers.
async fn next_end(
    jobs: &mut JoinSet<&'static str>,
    delivering: &mut JoinSet<&'static str>,
) -> Option<Result<&'static str, JoinError>> {
    tokio::select! {
        ended = jobs.join_next() => ended,
        Some(ended) = delivering.join_next() => Some(ended),
    }
}

/// Whoever tells an ending process to end does not want to wait.
fn end_at_once_when_told() {
    let told = told_to_end();
    tokio::spawn(async {
        told.await;
        tracing::warn!("told twice: ending at once");
        std::process::exit(1);
    });
}

/// How often a room that is open here tells the others so: three times in a lease.
const RENEWAL: Duration = Duration::from_secs(5);
/// How often rooms of servers that are gone are looked for.
const SETTLING: Duration = Duration::from_secs(15);
/// How long members and rooms have to end; connections have as long.
const ROOMS: Duration = Duration::from_secs(10);

/// A step of a job that needs nothing but the state.
type Step = for<'a> fn(&'a AppState) -> Pin<Box<dyn Future<Output = Result<u64, StoreError>> + Send + 'a>>;

fn start_jobs(
    config: &Config,
    state: &AppState,
    store: &Store,
    stop: &CancellationToken,
) -> JoinSet<&'static str> {
    let mut jobs = Jobs { running: JoinSet::new(), state, stop };
    let owner = jobs::Watch::begin(state.clone());
    if let Store::Postgres { store, clock } = store {
        let (state, clock) = (state.clone(), clock.clone());
        jobs.start("clock", Rhythm::Every(SAMPLING), move || {
            let (state, clock) = (state.clone(), clock.clone());
            async move { jobs::sample(&state, &clock).await }
        });
        jobs.running.spawn(answer_calls(store.clone(), owner.clone(), stop.clone()));
    }
    let watch = owner.clone();
    jobs.start("flush", Rhythm::Every(config.heartbeat_flush_interval()), move || {
        let watch = watch.clone();
        async move { watch.flush().await }
    });
    jobs.start("sweep", Rhythm::Every(config.detect_offline_interval()), move || {
        let watch = owner.clone();
        async move { watch.sweep().await }
    });
    let steps: [(&str, Rhythm, Step); 10] = [
        ("flush_members", Rhythm::Yielding(config.heartbeat_flush_interval()), |state| {
            Box::pin(jobs::flush_members(state))
        }),
        ("evict", Rhythm::Every(EVICTION), |state| Box::pin(jobs::evict(state))),
        ("summarise", Rhythm::Every(config.summary_interval()), |state| Box::pin(jobs::summarise(state))),
        ("refold", Rhythm::Sparing(REFOLD), |state| Box::pin(jobs::refold(state))),
        ("catch_up", Rhythm::Every(CATCHING_UP), |state| Box::pin(jobs::catch_up(state))),
        ("snapshot", Rhythm::OnTheClock(config.snapshot_interval()), |state| Box::pin(jobs::snapshot(state))),
        ("retain", Rhythm::Every(RETENTION), |state| Box::pin(jobs::retain(state))),
        ("renew_rooms", Rhythm::Every(RENEWAL), |state| Box::pin(jobs::renew_rooms(state))),
        ("settle_rooms", Rhythm::Every(SETTLING), |state| Box::pin(jobs::settle_rooms(state))),
        ("retain_rooms", Rhythm::Every(RETENTION), |state| Box::pin(jobs::retain_rooms(state))),
    ];
    for (name, rhythm, step) in steps {
        let (owner, ends) = (state.clone(), stop.clone());
        jobs.start(name, rhythm, move || {
            let (state, stop) = (owner.clone(), ends.clone());
            // It may be years of many users: an end of the server need not wait for that.
            async move { stop.run_until_cancelled(step(&state)).await.unwrap_or(Ok(0)) }
        });
    }
    if state.tracking_outbox().is_some() {
        let (state, stop) = (state.clone(), stop.clone());
        jobs.running.spawn(async move {
            jobs::bring_events(&state, &stop).await;
            "bring_events"
        });
    }
    let (owner, retention) = (state.clone(), config.callbacks().outbox_retention);
    jobs.start("expire_events", Rhythm::Every(RETENTION), move || {
        let state = owner.clone();
        async move { jobs::expire_events(&state, retention).await }
    });
    if let Some(exposure) = config.exposure() {
        jobs.start("reminder", Rhythm::Every(REMINDER), move || async move {
            tracing::warn!("PRESENCE_INSECURE: {exposure}");
            Ok(0)
        });
    }
    jobs.running
}

/// The jobs that run; each gives its name when it ends.
struct Jobs<'a> {
    running: JoinSet<&'static str>,
    state: &'a AppState,
    stop: &'a CancellationToken,
}

impl Jobs<'_> {
    fn start<F>(&mut self, name: &'static str, rhythm: Rhythm, step: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = Result<u64, StoreError>> + Send + 'static,
    {
        let (tracker, stop) = (self.state.tracker().clone(), self.stop.clone());
        self.running.spawn(async move {
            jobs::repeat(name, rhythm, || tracker.now(), stop, step).await;
            name
        });
    }
}

/// Sweeps whenever somebody calls for it through the database, until `stop`.
async fn answer_calls(
    store: Arc<PostgresStore>,
    watch: jobs::Watch,
    stop: CancellationToken,
) -> &'static str {
    let answering = async {
        loop {
            let answered: Result<(), StoreError> = async {
                let mut wakes = store.wakes().await?;
                loop {
                    wakes.next().await?;
                    watch.sweep().await?;
                }
            }
            .await;
            if let Err(error) = answered {
                tracing::warn!(%error, "calls to sweep are not heard for a while");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    };
    stop.run_until_cancelled(answering).await.unwrap_or("calls")
}

/// Waits for SIGTERM or SIGINT; one that comes after the call and before the first poll counts.
fn told_to_end() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
    };
    async move {
        #[cfg(unix)]
        if let Ok((mut terminate, mut interrupt)) = signals {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
        // Without signals of its own the process can only be killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use presence_core::{Admins, RoomId, RoomName};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;
    use crate::config::{Command, Environment};

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|bytes| bytes == part)
    }

    #[tokio::test]
    async fn members_are_sent_away_when_a_job_dies() {
        let env = Environment::new([("BIND_ADDRESS", "127.0.0.1:0")]);
        let Ok(Command::Serve(config)) = Config::from_env_and_args(["presence-server"], &env) else {
            panic!("a configuration")
        };
        let server = Server::open(config).await.unwrap();
        let rooms = server.state().hub().rooms();
        let name = RoomName::new("Lobby").unwrap();
        rooms.create(RoomId::new("lobby").unwrap(), name, Admins::default()).await.unwrap();
        let mut alice = TcpStream::connect(server.address()).await.unwrap();
        let (die, dies) = oneshot::channel::<()>();
        let mut jobs = JoinSet::new();
        jobs.spawn(async {
            let _ = dies.await;
            "flush"
        });
        let served = tokio::spawn(server.serve_beside(jobs, CancellationToken::new()));
        let request = "GET /ws/rooms/lobby?user_id=alice&nickname=alice HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        alice.write_all(request.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !holds(&heard, b"WelcomeInfo") {
            assert_ne!(alice.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
        }
        die.send(()).unwrap();
        while !holds(&heard, b"\x03\xe9going away") {
            assert_ne!(alice.read_buf(&mut heard).await.unwrap(), 0, "it was not told");
        }
        drop(alice);
        assert!(matches!(served.await.unwrap(), Err(RunError::Job("flush"))));
    }
}
