//! A service of somebody else's, with `presence-outbox` alone: orders are taken while the warehouse is away, and reach it
//! when it is back. `cargo run --example outbox`

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use presence_outbox::{Backoff, Deliver, DeliveryError, Outbox, OutboxConfig, SinkName};
use serde::{Deserialize, Serialize};

/// An event of this service. Its id is what tells a repeated delivery from a second order.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Order {
    event_id: String,
    customer: String,
    pieces: i32,
}

fn order(number: u32, pieces: i32) -> Order {
    Order { event_id: format!("order-{number}"), customer: "alice".to_owned(), pieces }
}

/// Where orders go. Yours is an HTTP call, or a broker.
#[derive(Default)]
struct Warehouse {
    is_open: bool,
    orders: Mutex<BTreeMap<String, i32>>,
}

impl Deliver<Order> for Warehouse {
    async fn deliver(&self, batch: &[Order]) -> Result<usize, DeliveryError> {
        if !self.is_open {
            return Err(DeliveryError::Retry { after: Duration::ZERO });
        }
        if batch.iter().any(|order| order.pieces <= 0) {
            return Err(DeliveryError::Refused { reason: "an order is for one piece at least".to_owned() });
        }
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.extend(batch.iter().map(|order| (order.event_id.clone(), order.pieces)));
        Ok(batch.len())
    }
}

async fn open(dir: &Path) -> Result<Outbox<Order>, Box<dyn std::error::Error>> {
    let at_once = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
    let config = OutboxConfig::new(dir).sink(SinkName::new("warehouse")?).backoff(at_once);
    Ok(Outbox::open(config).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("outbox");

    // The warehouse is away: orders are taken all the same, and are on disk when that is said.
    let outbox = open(&dir).await?;
    for number in 1..=5 {
        let enqueued = outbox.enqueue(&order(number, if number == 3 { 0 } else { 2 })).await?;
        assert!(enqueued.is_enqueued());
    }
    outbox.seal().await?;
    let away = Warehouse::default();
    let failed = outbox.sink("warehouse")?.flush(&away).await.expect_err("nobody is there");
    println!("5 orders taken, 0 delivered: {failed}");

    // The service ends, and starts again.
    drop(outbox);
    let outbox = open(&dir).await?;
    let warehouse = Warehouse { is_open: true, ..Warehouse::default() };
    let delivered = outbox.sink("warehouse")?.flush(&warehouse).await?;
    let books = outbox.books().await?;
    println!("{delivered} delivered, {} refused, {} bytes wait", books.sinks[0].dead, books.pending_bytes);

    let orders = warehouse.orders.into_inner()?;
    assert_eq!(orders.keys().collect::<Vec<_>>(), ["order-1", "order-2", "order-4", "order-5"]);
    assert!(books.balance() && (books.sinks[0].dead, books.pending_bytes) == (1, 0));
    Ok(())
}
