//! Events in the outbox of a store, and the relay that takes them to brokers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use presence_core::{
    Activity, ActivityQuery, ActivityStore, ClientEvent, Clock, Event, EventId, EventKind, EventName,
    InstallId, ManualClock, MemoryStore, Outbox, OutboxQuery, Relay, RetryPolicy, SinkBooks, SinkName,
    SnapshotStore, Step, Subscriptions, Timestamp, UserId,
};
use presence_kafka::{KafkaConfig, KafkaSink};

use crate::{
    cluster::Cluster,
    reader::{read_all, read_once},
};

/// A store with events for Kafka.
pub(crate) struct World {
    outbox: Arc<dyn OutboxQuery>,
    activity: Activity,
    clock: Arc<ManualClock>,
    relay: Relay,
    told: BTreeMap<String, Vec<String>>,
    count: usize,
}

impl World {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        Self::on(Arc::new(MemoryStore::new()), config)
    }

    pub(crate) fn on<S>(store: Arc<S>, config: &KafkaConfig) -> Self
    where
        S: ActivityQuery + ActivityStore + Outbox + OutboxQuery + SnapshotStore + 'static,
    {
        let name = SinkName::new("kafka").unwrap();
        store.subscribe(Subscriptions::none().with(name.clone(), [EventKind::EventLogged]));
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_717_161_600).unwrap()));
        let sink = Arc::new(KafkaSink::new(config).unwrap());
        let retry = RetryPolicy::default();
        let relay = Relay::new(store.clone(), sink, clock.clone(), name, "here", retry);
        let activity = Activity::new(store.clone(), clock.clone());
        Self { outbox: store, activity, clock, relay, told: BTreeMap::new(), count: 0 }
    }

    /// So many events happen, by users in turn.
    pub(crate) async fn happen(&mut self, events: usize, users: usize) {
        let install = InstallId::new("phone-4711").unwrap();
        let name = EventName::new("click").unwrap();
        let mut batch = Vec::with_capacity(events);
        for _ in 0..events {
            self.count += 1;
            let (user, id) = (format!("user {}", self.count % users), format!("event {}", self.count));
            let event = ClientEvent::new(name.clone(), install.clone()).by(UserId::new(&*user).unwrap());
            batch.push(event.with_event_id(EventId::new(&*id).unwrap()));
            self.told.entry(format!("u:{user}")).or_default().push(id);
        }
        for verdict in self.activity.ingest(batch).await.unwrap() {
            assert!(verdict.unwrap().is_new);
        }
    }

    /// One step of the relay, after the rest it may have to keep.
    pub(crate) async fn step(&self) -> Step {
        if let Step::Resting(until) = self.relay.step(0).await.unwrap() {
            self.clock.set(until);
        } else {
            panic!("the relay has to rest");
        }
        self.relay.step(0).await.unwrap()
    }

    /// Steps until nothing waits, through any number of failures.
    pub(crate) async fn drain(&self) {
        loop {
            match self.relay.step(0).await.unwrap() {
                Step::Idle => return,
                Step::Resting(until) => self.clock.set(until),
                Step::Delivered { .. } | Step::Failed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn deliver(&self) -> Step {
        self.relay.step(0).await.unwrap()
    }

    pub(crate) async fn books(&self) -> SinkBooks {
        self.outbox.books().await.unwrap().remove(0)
    }

    /// Time passes.
    pub(crate) fn wait(&self, time: Duration) {
        self.clock.set(self.clock.now().saturating_add(time));
    }

    /// Every event is in its topic: none lost, none that never was, each in order of its user and in the user's one
    /// partition. Says how many came more than once.
    pub(crate) async fn assert_all_there(&self, cluster: &Cluster) -> usize {
        let topic = cluster.topics().of(EventKind::EventLogged).to_owned();
        let once = read_once(cluster.brokers(), &topic).await;
        let mut partitions: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in &once {
            partitions.entry(&message.key).or_default().insert(message.partition);
            let event: Event = serde_json::from_str(&message.body).unwrap();
            assert_eq!(event.key(), message.key);
            let Event::EventLogged { event_id, .. } = event else { panic!("{event:?}") };
            read.entry(message.key.clone()).or_default().push(event_id.to_string());
        }
        assert_eq!(read, self.told);
        assert!(partitions.values().all(|partitions| partitions.len() == 1), "a key keeps its partition");
        read_all(cluster.brokers(), &topic).await.len() - once.len()
    }
}
