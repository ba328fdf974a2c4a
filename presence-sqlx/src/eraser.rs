//! How erased users are remembered without saying who they were.

use hmac::{Hmac, KeyInit, Mac};
use presence_core::UserId;
use sha2::Sha256;
use sqlx::Row;

use crate::{
    PostgresStore,
    connection::{Connections, Loan},
    error::Fault,
};

pub(crate) const KEY: &str = "SELECT erasure_key FROM store_meta WHERE id = 1";
/// Waits for the commits, folds and appends that are under way, and lets none begin: each holds a lock on this table
/// that allows all but this one, and takes its snapshot after it.
pub(crate) const HOLD_WRITES: &str = "LOCK TABLE erased_users IN EXCLUSIVE MODE";

/// Knows the key under which user ids are hashed.
#[derive(Debug)]
pub(crate) struct Eraser {
    mac: Hmac<Sha256>,
}

impl Eraser {
    pub(crate) async fn load(connections: &Connections) -> Result<Self, Fault> {
        let rows = connections.rows(|| sqlx::query(KEY)).await?;
        let key: &[u8] = rows.first().ok_or_else(|| Fault::unknown("store_meta.erasure_key"))?.try_get(0)?;
        let mac = Hmac::new_from_slice(key).map_err(|_| Fault::unknown("store_meta.erasure_key"))?;
        Ok(Self { mac })
    }

    pub(crate) fn hash(&self, user: &UserId) -> [u8; 32] {
        self.mac.clone().chain_update(user.as_str()).finalize().into_bytes().into()
    }
}

/// Begins a transaction in which nothing else is written that it must be told apart from. It is not done once more where
/// the connection breaks: its answer counts.
pub(crate) async fn alone(store: &PostgresStore) -> Result<Loan, Fault> {
    let mut loan = store.connections.borrow_tried().await?;
    loan.rows(sqlx::query("BEGIN")).await?;
    loan.rows(sqlx::query(HOLD_WRITES)).await?;
    Ok(loan)
}
