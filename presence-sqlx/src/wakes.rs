//! Calls to sweep, from outside: `NOTIFY presence_sweep`.

use presence_core::StoreError;
use sqlx::postgres::PgListener;

use crate::{PostgresStore, error::Fault};

/// What others notify, by themselves or by way of `deploy/pg_cron.sql`.
const CHANNEL: &str = "presence_sweep";

/// Hears when somebody asks the nodes to sweep: a schedule in the database, or an operator.
///
/// The statement is `NOTIFY presence_sweep`, in the database of the store. It only wakes: who has fallen silent is found
/// by the node's own sweep, under its own rules. Calls that come while nobody is connected are lost.
#[derive(Debug)]
pub struct Wakes {
    listener: PgListener,
    /// The size of the pool.
    connections: u32,
}

impl PostgresStore {
    /// Listens for calls to sweep. It keeps one connection of the pool for itself: drop it, or wait for the next call,
    /// where the store is being closed.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn wakes(&self) -> Result<Wakes, StoreError> {
        let listen = async {
            let mut listener = PgListener::connect_with(self.connections.pool()).await?;
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        let connections = self.connections.pool().options().get_max_connections();
        Ok(listen.await.map(|listener| Wakes { listener, connections }).map_err(Fault::from)?)
    }
}

impl Wakes {
    /// Waits for the next call. A connection that breaks is replaced.
    ///
    /// # Errors
    ///
    /// The database does not answer; waiting again tries again.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        // The listener takes another connection of the pool, which may be as broken as its own: each is tried once.
        for _ in 0..self.connections {
            match self.listener.recv().await.map_err(Fault::from) {
                Err(fault) if fault.is_lost() => {}
                heard => return Ok(heard.map(drop)?),
            }
        }
        Ok(self.listener.recv().await.map(drop).map_err(Fault::from)?)
    }
}
