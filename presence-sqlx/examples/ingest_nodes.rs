//! Ingests the same events from many threads of two nodes, each in an order of its own, and prints a line for each batch
//! that was acknowledged: to be killed, and looked at from outside.
//!
//! ```text
//! ingest_nodes URL
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use presence_core::{Activity, conformance::crowd};
use presence_sqlx::{PostgresConfig, PostgresStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Ingests all events from each thread, the threads of two nodes in turns; `told` hears of every batch that is stored.
pub(crate) async fn ingest(
    nodes: &[Activity; 2],
    told: impl Fn(u64) -> io::Result<()> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let threads: Vec<_> = (0..crowd::THREADS)
        .zip(nodes.iter().cycle())
        .map(|(thread, node)| {
            let (activity, told) = (node.clone(), told.clone());
            tokio::spawn(async move {
                for batch in crowd::batches(thread) {
                    for verdict in activity.ingest(batch).await? {
                        verdict?;
                    }
                    told(thread)?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for thread in threads {
        thread.await??;
    }
    Ok(())
}

/// Two nodes on one database, each with connections of its own.
pub(crate) async fn nodes(url: &str) -> Result<[Activity; 2], Failure> {
    let node = async || {
        let store = PostgresStore::connect(PostgresConfig::new(url)?).await?;
        Ok::<_, Failure>(crowd::activity(Arc::new(store)))
    };
    Ok([node().await?, node().await?])
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let [url] = arguments else { return Err("ingest_nodes URL".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_all().build()?;
    // One system call a line, so that a kill cuts none.
    let told = |thread: u64| io::stdout().lock().write_all(format!("{thread}\n").as_bytes());
    runtime.block_on(async { ingest(&nodes(url).await?, told).await })
}
