//! The same requests to three servers, in memory, on SQLite and on PostgreSQL: nobody can tell which one answers.

#[expect(dead_code, reason = "other tests look closer at an answer")]
#[path = "../hostile/client.rs"]
mod client;
mod life;
mod node;
mod odd;
#[expect(dead_code, reason = "what is to come of a case is known there")]
#[path = "../hostile/table/mod.rs"]
mod table;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    life::{Life, Operation},
    node::Node,
};

/// Fewer than these would leave some pair of a write and a question untried.
const OPERATIONS: usize = 7_000;

/// The instant at which the story begins: two days before the clocks change in America, three weeks before they do in
/// Europe.
const BEGIN: i64 = 1_709_900_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_tell_the_store_by_its_answers() {
    let mut nodes = [Node::in_memory().await, Node::on_sqlite().await, Node::on_postgres().await];
    let mut life = Life::begin(0x005e_ed0f_5ea5_04e5, BEGIN);
    let (mut taken, mut kinds, mut statuses) = (0, BTreeMap::new(), BTreeMap::new());
    while let Some(operation) = life.next(OPERATIONS) {
        let [memory, sqlite, postgres] = &mut nodes;
        let answers =
            tokio::join!(memory.take(&operation), sqlite.take(&operation), postgres.take(&operation));
        let (memory, sqlite, postgres) = answers;
        assert!(
            memory == sqlite && memory == postgres,
            "operation {taken}, at {}: {operation}\nbefore it: {:#?}\n\nmemory\n{memory}\n\nSQLite\n{sqlite}\n\nPostgreSQL\n{postgres}",
            life.now(),
            life.recent(&operation),
        );
        *kinds.entry(operation.kind()).or_insert(0) += 1;
        if matches!(operation, Operation::Ask { .. } | Operation::Raw(_)) {
            *statuses.entry(memory.split(' ').next().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
        life.learn(operation, &memory);
        taken += 1;
    }
    println!("{taken} operations, answered alike: {kinds:?}\nby status: {statuses:?}");
    assert!(taken >= OPERATIONS, "{taken}");
    // A sequence in which little happens says little.
    for (kind, least) in
        [("POST checkpoints", 800), ("GET status", 250), ("flush", 100), ("POST events", 200)]
    {
        assert!(kinds.get(kind).is_some_and(|count| *count >= least), "{kind}: {kinds:?}");
    }
    for (status, least) in [("200", 2_000), ("201", 500), ("400", 200), ("404", 30), ("409", 30), ("410", 5)]
    {
        assert!(statuses.get(status).is_some_and(|count| *count >= least), "{status}: {statuses:?}");
    }
    assert!(life.ids_seen() > 700, "{} checkpoints were shown", life.ids_seen());
    assert!(life.lasted() > Duration::from_secs(86_400), "{:?}", life.lasted());
}
