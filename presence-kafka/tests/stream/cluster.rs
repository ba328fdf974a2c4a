//! Brokers, and what can happen to them.

use std::{
    env,
    process::Command,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use presence_kafka::{
    KafkaConfig, Topics,
    rdkafka::{
        ClientConfig,
        admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
        client::DefaultClientContext,
        mocking::MockCluster,
        producer::DefaultProducerContext,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    },
};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many brokers the mock has.
const BROKERS: i32 = 3;
/// How many partitions each topic has.
const PARTITIONS: i32 = 4;
/// What a [limited](Cluster::limited) topic takes at once, where the brokers look at that.
pub(crate) const LIMIT: usize = 20_000;

type Order = Box<dyn FnOnce(&MockCluster<'_, DefaultProducerContext>) + Send>;

/// What happens to brokers happens to all who use them: one test at a time, but where each has its own.
static TURN: RwLock<()> = RwLock::const_new(());
static TESTS: AtomicU32 = AtomicU32::new(0);

/// Brokers with the topics of one test.
pub(crate) struct Cluster {
    brokers: String,
    topics: Topics,
    kind: Kind,
    _turn: Turn,
}

enum Turn {
    Alone { _turn: RwLockWriteGuard<'static, ()> },
    Beside { _turn: RwLockReadGuard<'static, ()> },
}

impl Turn {
    async fn alone() -> Self {
        Self::Alone { _turn: TURN.write().await }
    }

    async fn beside() -> Self {
        Self::Beside { _turn: TURN.read().await }
    }
}

enum Kind {
    /// It may not change threads, so it has one.
    Mock(Option<mpsc::Sender<Order>>, Option<JoinHandle<()>>),
    Real,
}

impl Cluster {
    /// Brokers that work, with empty topics.
    pub(crate) async fn start() -> Self {
        Self::with(None, Turn::beside()).await
    }

    /// The same, while no other test runs.
    pub(crate) async fn alone() -> Self {
        Self::with(None, Turn::alone()).await
    }

    /// The same, with topics that take [`LIMIT`] bytes at once; see [`Cluster::will_refuse`].
    pub(crate) async fn limited() -> Self {
        Self::with(Some(LIMIT), Turn::beside()).await
    }

    async fn with(limit: Option<usize>, turn: impl Future<Output = Turn>) -> Self {
        let turn = if env::var_os("KAFKA_BROKERS").is_some() { Turn::alone().await } else { turn.await };
        let test = TESTS.fetch_add(1, Ordering::Relaxed);
        let topics: Topics = format!("presence-test-{}-{test}", std::process::id()).parse().unwrap();
        let names = names(&topics);
        let (kind, brokers) = match env::var("KAFKA_BROKERS") {
            Ok(brokers) => {
                create(&brokers, &names, limit).await;
                (Kind::Real, brokers)
            }
            Err(_) => mock(names),
        };
        Self { brokers, topics, kind, _turn: turn }
    }

    /// How they are reached, by somebody who waits for some seconds only.
    pub(crate) fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.brokers).topics(self.topics.clone()).timeout(Duration::from_secs(4))
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(crate) const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Nobody answers.
    pub(crate) fn goes_away(&self) {
        self.suffers("down", |mock| (1..=BROKERS).for_each(|broker| mock.broker_down(broker).unwrap()));
    }

    /// Somebody answers again.
    pub(crate) fn comes_back(&self) {
        self.suffers("up", |mock| (1..=BROKERS).for_each(|broker| mock.broker_up(broker).unwrap()));
    }

    /// All partitions are led by another broker. A single broker is restarted: its partitions lose their leader, and get
    /// one.
    pub(crate) fn changes_leaders(&self, round: i32) {
        let names = names(&self.topics);
        match &self.kind {
            Kind::Mock(..) => self.suffers("", move |mock| {
                for (name, partition) in all(&names) {
                    let leader = (partition + round).rem_euclid(BROKERS) + 1;
                    mock.partition_leader(name, partition, Some(leader)).unwrap();
                }
            }),
            Kind::Real => {
                self.goes_away();
                self.comes_back();
            }
        }
    }

    /// What is sent from now on is applied, and the answer comes too late.
    pub(crate) fn answers_late(&self) {
        self.suffers("pause", |mock| delay(mock, Duration::from_secs(8)));
    }

    /// Answers come in time again.
    pub(crate) fn answers_in_time(&self) {
        self.suffers("resume", |mock| delay(mock, Duration::ZERO));
    }

    /// So many of the next requests are larger than a topic takes: said by the mock, which looks at no size. Others know
    /// from [`LIMIT`].
    pub(crate) fn will_refuse(&self, requests: usize) {
        if matches!(self.kind, Kind::Mock(..)) {
            self.suffers("", move |mock| {
                let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
                mock.request_errors(RDKafkaApiKey::Produce, &vec![error; requests]);
            });
        }
    }

    /// The next request is forbidden, where there is a mock to say so; says whether it is.
    pub(crate) fn will_forbid(&self) -> bool {
        let is_mock = matches!(self.kind, Kind::Mock(..));
        if is_mock {
            self.suffers("", |mock| {
                let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
                mock.request_errors(RDKafkaApiKey::Produce, &[error]);
            });
        }
        is_mock
    }

    /// Gives an order to the mock and waits for it, or a word to the command that has the broker.
    fn suffers(
        &self,
        word: &str,
        order: impl FnOnce(&MockCluster<'_, DefaultProducerContext>) + Send + 'static,
    ) {
        match &self.kind {
            Kind::Mock(orders, _) => {
                let (done, is_done) = mpsc::channel();
                let order: Order = Box::new(move |mock| {
                    order(mock);
                    done.send(()).unwrap();
                });
                orders.as_ref().unwrap().send(order).unwrap();
                is_done.recv().unwrap();
            }
            Kind::Real => {
                let control = env::var("KAFKA_CONTROL").expect("KAFKA_CONTROL: see scripts/kafka.sh");
                let status = Command::new(control).arg(word).status().expect("KAFKA_CONTROL runs");
                assert!(status.success(), "{word}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Kind::Mock(orders, thread) = &mut self.kind {
            drop(orders.take());
            thread.take().into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
}

fn names(topics: &Topics) -> Vec<String> {
    let out = ["events", "dau", "heartbeat"].map(|name| format!("{topics}.{name}"));
    let inside = [topics.events_in(), topics.heartbeats_in(), topics.dead()].map(str::to_owned);
    out.into_iter().chain(inside).collect()
}

fn all(names: &[String]) -> impl Iterator<Item = (&str, i32)> {
    names.iter().flat_map(|name| (0..PARTITIONS).map(|partition| (name.as_str(), partition)))
}

fn delay(mock: &MockCluster<'_, DefaultProducerContext>, delay: Duration) {
    (1..=BROKERS).for_each(|broker| mock.broker_round_trip_time(broker, delay).unwrap());
}

fn mock(names: Vec<String>) -> (Kind, String) {
    let (orders, to_do) = mpsc::channel::<Order>();
    let (brokers, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mock = MockCluster::new(BROKERS).unwrap();
        names.iter().for_each(|name| mock.create_topic(name, PARTITIONS, BROKERS).unwrap());
        brokers.send(mock.bootstrap_servers()).unwrap();
        to_do.iter().for_each(|order| order(&mock));
    });
    (Kind::Mock(Some(orders), Some(thread)), told.recv().unwrap())
}

async fn create(brokers: &str, names: &[String], limit: Option<usize>) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let limit = limit.unwrap_or(1_000_000).to_string();
    let topics: Vec<_> = names
        .iter()
        .map(|name| {
            NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1)).set("max.message.bytes", &limit)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for created in admin.create_topics(&topics, &options).await.unwrap() {
        created.unwrap();
    }
}
