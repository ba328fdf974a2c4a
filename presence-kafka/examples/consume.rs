//! Takes client events from Kafka into a SQLite file for as long as it lives, and prints how many it has stored after each
//! write: to be killed, and looked at from outside.
//!
//! ```text
//! consume BROKERS PREFIX PATH
//! ```

use std::{
    error::Error,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use presence_core::{Activity, Beats, SystemClock, Tracker};
use presence_kafka::{KafkaConfig, KafkaIngest};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [brokers, prefix, path] = arguments.as_slice() else {
        return Err("consume BROKERS PREFIX PATH".into());
    };
    let store = SqliteStore::open_with(SqliteConfig::new(path).durability(Durability::Process)).await?;
    let store = Arc::new(store);
    let beats = Beats::new(Tracker::new(store.clone(), SystemClock));
    let activity = Activity::new(store, SystemClock);
    let config = KafkaConfig::new(brokers).topics(prefix.parse()?).session_timeout(Duration::from_secs(4));
    let mut ingest = KafkaIngest::new(&config)?;
    let mut stored = 0;
    loop {
        match ingest.step(&beats, &activity).await {
            Ok(step) => stored += step.stored,
            Err(error) => eprintln!("{error}"),
        }
        // One system call a line, so that a kill cuts none.
        io::stdout().lock().write_all(format!("{stored}\n").as_bytes())?;
    }
}
