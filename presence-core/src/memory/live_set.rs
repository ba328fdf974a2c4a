//! Who is online, in an ordered map.
use crate::{LiveSet, Member, Seen, StoreError, Timestamp};
use async_trait::async_trait;
/// A live set in memory.
#[derive(Debug, Default)]
pub struct MemoryLiveSet(std::sync::Mutex<std::collections::BTreeMap<Member, (Timestamp, bool)>>);
impl MemoryLiveSet {
    pub(crate) fn last_seen(&self, member: &Member) -> Option<Timestamp> {
        self.0.lock().unwrap().get(member).filter(|m| !m.1).map(|m| m.0)
    }
}
#[async_trait]
impl LiveSet for MemoryLiveSet {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        let mut map = self.0.lock().unwrap();
        for seen in seen {
            match seen {
                Seen::Member { member, at, floor } => {
                    if let Some((bound, true)) = map.get(&member)
                        && *bound >= floor
                    {
                        continue;
                    }
                    let entry = map.entry(member).or_insert((at, false));
                    *entry = (if entry.1 { at } else { at.max(entry.0) }, false);
                }
                Seen::Bound { install, at } => {
                    let entry = map.entry(Member::Install(install)).or_insert((at, true));
                    *entry = (if entry.1 { at.max(entry.0) } else { at }, true);
                }
            }
        }
        Ok(())
    }
    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        let mut map = self.0.lock().unwrap();
        for member in members {
            if map.get(&member).is_some_and(|m| !m.1) {
                map.remove(&member);
            }
        }
        Ok(())
    }
    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        Ok(self.0.lock().unwrap().values().filter(|m| !m.1 && m.0 >= since).count() as u64)
    }
    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|(k, m)| !m.1 && m.0 >= since && after.as_ref().is_none_or(|a| *k > a))
            .take(limit)
            .map(|(k, m)| (k.clone(), m.0))
            .collect())
    }
    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut map = self.0.lock().unwrap();
        let gone: Vec<_> =
            map.iter().filter(|(_, m)| m.0 < before).take(limit).map(|(k, _)| k.clone()).collect();
        for k in &gone {
            map.remove(k);
        }
        Ok(gone.len() as u64)
    }
}
