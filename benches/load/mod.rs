//! Load: clients that ask a server as fast as it answers, or at a rate that does not wait for it.
//!
//! *Closed loop*: each client sends its next request when the last one is answered. That finds the most that a server
//! takes; the latency is that of a server at its limit.
//!
//! *Open loop*: requests are due at a fixed rate, whether or not the server keeps up. The latency counts from when a
//! request was due, not from when a client was free to send it, so a server that stalls is charged for everybody who
//! would have come meanwhile (no coordinated omission).
//!
//! ```text
//! due             |    |    |    |    |
//! sent            |    |         ||   |      the third was held up by the second
//! latency         --   ---------
//!                           ------
//! ```

mod client;
mod histogram;
mod workload;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use presence_core::{Clock, SystemClock};
use tokio::{runtime, sync::Semaphore, task::yield_now};

use self::client::Client;
pub use self::{
    histogram::Histogram,
    workload::{Kind, Request, Workload},
};

/// What is asked, by how many, how fast and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The requests.
    pub workload: Workload,
    /// Connections, each with one request at a time.
    pub clients: u64,
    /// Requests per second that are due; `None` is a closed loop.
    pub rate: Option<f64>,
    /// When it is over.
    pub end: End,
    /// Threads that share the clients; at least one.
    pub threads: u64,
}

impl Plan {
    /// A closed loop of one thread for this long; batches have 1,000 heartbeats.
    #[must_use]
    pub fn closed(address: SocketAddr, kind: Kind, users: u64, clients: u64, time: Duration) -> Self {
        let workload = Workload {
            kind,
            users,
            batch: 1000,
            anonymous: false,
            host: address.to_string(),
            prefix: String::new(),
            headers: Vec::new(),
        };
        Self { address, workload, clients, rate: None, end: End::After(time), threads: 1 }
    }
}

/// When a run is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// After this time; requests on their way are still answered.
    After(Duration),
    /// When every request was answered once.
    Once,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers with success.
    pub answered: u64,
    /// Heartbeats or reports in them.
    pub items: u64,
    /// Other answers, by status. A batch of which a part was refused counts here too, with its 200.
    pub refused: BTreeMap<u16, u64>,
    /// Requests that were due, and that no client was free for until the end: their latency is not in the histogram.
    pub unsent: u64,
    /// From the first request to the last answer.
    pub took: Duration,
    /// From the request, or from when it was due, to the end of its answer.
    pub latency: Histogram,
}

impl Tally {
    /// Heartbeats or reports per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.items as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.items += other.items;
        other.refused.iter().for_each(|(status, count)| *self.refused.entry(*status).or_default() += count);
        self.unsent += other.unsent;
        self.took = self.took.max(other.took);
        self.latency.merge(&other.latency);
    }
}

/// Runs a plan of which every answer has to be a success: figures of others would be worth nothing.
///
/// # Errors
///
/// As [`run`], or an answer was none.
pub fn whole(plan: &Plan) -> io::Result<Tally> {
    let tally = run(plan)?;
    if tally.refused.is_empty() {
        Ok(tally)
    } else {
        Err(io::Error::other(format!("answers without success: {:?}", tally.refused)))
    }
}

/// The same with each request of the plan once, before anything is measured.
///
/// # Errors
///
/// As [`whole`].
pub fn once(plan: &Plan) -> io::Result<Tally> {
    whole(&Plan { end: End::Once, ..plan.clone() })
}

/// Runs a plan to its end.
///
/// # Errors
///
/// A connection failed: the server is not there, closed it, or answers what is no HTTP/1.1 with `Content-Length`.
///
/// # Panics
///
/// Never, but for a bug that panics in a thread.
pub fn run(plan: &Plan) -> io::Result<Tally> {
    let threads = plan.threads.clamp(1, plan.clients.max(1));
    let ready = Barrier::new(threads as usize);
    let tallies: Vec<_> = thread::scope(|scope| {
        let ready = &ready;
        let started: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || drive(plan, thread, threads, ready))).collect();
        started.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.merge(&tally?);
    }
    Ok(all)
}

#[expect(clippy::disallowed_methods, reason = "load is made by the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The clients of one thread.
fn drive(plan: &Plan, thread: u64, threads: u64, ready: &Barrier) -> io::Result<Tally> {
    let requests: Vec<_> = (thread..plan.clients.max(1))
        .step_by(threads as usize)
        .map(|client| plan.workload.requests(client, plan.clients))
        .collect();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    ready.wait();
    let mut all = Tally::default();
    runtime?
        .block_on(async {
            let start = now();
            let end = match plan.end {
                End::After(time) => Some(start + time),
                End::Once => None,
            };
            let pace = plan.rate.map(|rate| Arc::new(Pace::new(start, rate / threads as f64)));
            let clients: Vec<_> = requests
                .into_iter()
                .map(|requests| {
                    let (plan, pace) = (plan.clone(), pace.clone());
                    tokio::spawn(async move { ask(&plan, requests, end, pace.as_deref()).await })
                })
                .collect();
            let pacer = pace.map(|pace| tokio::spawn(async move { pace.release(end).await }));
            for client in clients {
                all.merge(&client.await.map_err(io::Error::other)??);
            }
            if let Some(pacer) = pacer {
                all.unsent = pacer.await.map_err(io::Error::other)?;
            }
            all.took = start.elapsed();
            Ok(())
        })
        .map(|()| all)
}

/// One client to its end.
async fn ask(
    plan: &Plan,
    mut requests: Vec<Request>,
    end: Option<Instant>,
    pace: Option<&Pace>,
) -> io::Result<Tally> {
    let mut client = Client::connect(plan.address).await?;
    let mut tally = Tally::default();
    let mut asked = 0;
    loop {
        let turn = asked % requests.len();
        if asked == requests.len() && end.is_none() {
            return Ok(tally);
        }
        asked += 1;
        let start = match pace {
            None => now(),
            Some(pace) => match pace.turn().await {
                Some(due) => due,
                None => return Ok(tally),
            },
        };
        if end.is_some_and(|end| start >= end) {
            return Ok(tally);
        }
        let request = &mut requests[turn];
        let items = request.items;
        let answer = client.ask(request.at(SystemClock.now().as_secs())).await?;
        tally.latency.add(start.elapsed());
        if (200..300).contains(&answer.status) && plan.workload.is_taken(answer.body) {
            tally.answered += 1;
            tally.items += items;
        } else {
            *tally.refused.entry(answer.status).or_default() += 1;
        }
    }
}

/// When requests are due: one after the other, at a fixed distance; whichever client is free takes the next.
#[derive(Debug)]
struct Pace {
    start: Instant,
    rate: f64,
    due: Semaphore,
    taken: AtomicU64,
}

impl Pace {
    fn new(start: Instant, rate: f64) -> Self {
        Self { start, rate, due: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    /// Waits for a request that is due, and says since when; `None` where there will be no more.
    async fn turn(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Relaxed);
        Some(self.start + Duration::from_secs_f64(number as f64 / self.rate))
    }

    /// Releases what is due, until the end, and says how many were due that no client was free for. Timers are too
    /// coarse for that, so the last milliseconds before each are spent asking the clock.
    async fn release(&self, end: Option<Instant>) -> u64 {
        let mut released = 0;
        loop {
            let now = now();
            if end.is_some_and(|end| now >= end) {
                self.due.close();
                return self.due.available_permits() as u64;
            }
            let due = ((now - self.start).as_secs_f64() * self.rate) as usize + 1;
            self.due.add_permits(due - released);
            released = due;
            let next = self.start + Duration::from_secs_f64(released as f64 / self.rate);
            match next.checked_duration_since(now).and_then(|wait| wait.checked_sub(Duration::from_millis(2)))
            {
                Some(wait) => tokio::time::sleep(wait).await,
                None => yield_now().await,
            }
        }
    }
}
