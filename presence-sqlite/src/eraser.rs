//! How erased users are remembered without saying who they were.

use hmac::{Hmac, KeyInit, Mac};
use presence_core::{Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::Sha256;

use crate::error::Fault;

const KEY: &str = "SELECT erasure_key FROM store_meta WHERE id = 1";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM erased_users)";
const FENCE: &str = "SELECT at FROM erased_users WHERE user_hash = ?1";
const FORGET: &str = "INSERT INTO erased_users (user_hash, at) VALUES (?1, ?2)
    ON CONFLICT (user_hash) DO UPDATE SET at = max(at, excluded.at)";

/// Knows the key under which user ids are hashed.
#[derive(Debug)]
pub(crate) struct Eraser {
    mac: Hmac<Sha256>,
    /// Whether anybody was ever erased. Most stores never erase, and need not look.
    any: bool,
}

impl Eraser {
    pub(crate) fn load(conn: &Connection) -> Result<Self, Fault> {
        let key: Vec<u8> = conn.query_row(KEY, [], |row| row.get(0))?;
        let mac = Hmac::new_from_slice(&key).map_err(|_| Fault::unknown("store_meta.erasure_key"))?;
        Ok(Self { mac, any: conn.query_row(ANY, [], |row| row.get(0))? })
    }

    /// When the user was erased last.
    pub(crate) fn fence(&self, conn: &Connection, user: &UserId) -> Result<Option<Timestamp>, Fault> {
        if !self.any {
            return Ok(None);
        }
        let fence = conn.prepare_cached(FENCE)?.query_row([self.hash(user)], |row| row.get(0)).optional()?;
        fence
            .map(|at: i64| Timestamp::from_millis(at).map_err(Fault::rejected("erased_users.at")))
            .transpose()
    }

    /// Remembers that the user was erased; the latest of several times counts.
    pub(crate) fn forget(&mut self, conn: &Connection, user: &UserId, at: Timestamp) -> Result<(), Fault> {
        self.any = true;
        conn.prepare_cached(FORGET)?.execute(params![self.hash(user), at.as_millis()])?;
        Ok(())
    }

    fn hash(&self, user: &UserId) -> [u8; 32] {
        self.mac.clone().chain_update(user.as_str()).finalize().into_bytes().into()
    }
}
