//! How erased users are remembered without saying who they were.

use hmac::{Hmac, KeyInit, Mac};
use presence_core::UserId;
use sha2::Sha256;
use sqlx::Row;

use crate::{connection::Connections, error::Fault};

pub(crate) const KEY: &str = "SELECT erasure_key FROM store_meta WHERE id = 1";

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
