//! What is in a topic.

use std::{collections::HashSet, time::Duration};

use presence_kafka::rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Headers, Message},
};

/// A message, as somebody else reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Read {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Read {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or_else(|| panic!("{self:?} has {name}"), |(_, value)| value)
    }
}

/// All messages of a topic, partition by partition in order.
pub(crate) async fn read_all(brokers: &str, topic: &str) -> Vec<Read> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&brokers, &topic)).await.unwrap()
}

/// The same, each once: what came twice under one id counts as it came first.
pub(crate) async fn read_once(brokers: &str, topic: &str) -> Vec<Read> {
    let mut seen = HashSet::new();
    let all = read_all(brokers, topic).await;
    all.into_iter().filter(|read| seen.insert(read.header("event-id").to_owned())).collect()
}

fn read(brokers: &str, topic: &str) -> Vec<Read> {
    const WAIT: Duration = Duration::from_secs(30);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut read, mut left) = (Vec::new(), partitions.count());
    while left > 0 {
        match consumer.poll(WAIT).expect("the end of each partition is told") {
            Ok(message) => {
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                read.push(Read {
                    partition: message.partition(),
                    key: text(message.key()),
                    headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
                    body: text(message.payload()),
                });
            }
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    read
}
