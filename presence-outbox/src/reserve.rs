//! The part of a disk that events do not get.

/// How much of the disk has to stay free. What is smaller than the reserve still takes what is needed to deliver:
/// cursors, dead letters, quarantine.
///
/// ```
/// use presence_outbox::Reserve;
///
/// let reserve = Reserve::default();
/// assert_eq!((reserve.bytes, reserve.percent), (64 << 20, 2));
/// // The larger of the two counts.
/// assert_eq!(reserve.of(1 << 30), 64 << 20);
/// assert_eq!(reserve.of(100 << 30), 2 << 30);
/// assert_eq!(Reserve::NONE.of(u64::MAX), 0);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reserve {
    /// So many bytes. Default 64 MiB.
    pub bytes: u64,
    /// So many hundredths of the disk. Default 2.
    pub percent: u8,
}

impl Reserve {
    /// Events may fill the disk.
    pub const NONE: Self = Self { bytes: 0, percent: 0 };

    /// How many bytes that is of a disk of `total` bytes.
    #[must_use]
    pub fn of(&self, total: u64) -> u64 {
        let part = u128::from(total) * u128::from(self.percent) / 100;
        self.bytes.max(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// Whether it stays free on such a disk when `bytes` more are written. A disk that tells nothing has room.
    pub(crate) fn is_kept(&self, space: Option<Space>, bytes: u64) -> bool {
        space.is_none_or(|space| space.free.saturating_sub(bytes) >= self.of(space.total))
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self { bytes: 64 << 20, percent: 2 }
    }
}

/// The room on a disk, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Space {
    /// What this process may still take.
    pub(crate) free: u64,
    /// All of it.
    pub(crate) total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_afterwards_decides() {
        let (reserve, space) =
            (Reserve { bytes: 100, percent: 2 }, |free, total| Some(Space { free, total }));
        for (space, bytes, is_kept) in [
            (space(150, 1000), 50, true),
            (space(150, 1000), 51, false),
            (space(99, 1000), 0, false),
            (space(200, 10_000), 0, true),
            (space(199, 10_000), 0, false),
            (space(0, 0), 1, false),
            (None, u64::MAX, true),
        ] {
            assert_eq!(reserve.is_kept(space, bytes), is_kept, "{space:?} {bytes}");
        }
        assert!(Reserve::NONE.is_kept(space(0, 1000), 50), "the write itself tells");
        assert_eq!(Reserve { bytes: 0, percent: u8::MAX }.of(u64::MAX), u64::MAX);
    }
}
