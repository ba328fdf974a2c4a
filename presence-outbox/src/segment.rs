//! The names of files, and what they say.

use std::fmt;

/// The file that is being written.
pub(crate) const ACTIVE: &str = "active.ndjson";
/// The file whose kernel lock is the right to the directory.
pub(crate) const LOCK: &str = "LOCK";
/// What begins the name of a file that is not whole yet; such files are never read, and removed at the start.
pub(crate) const TEMPORARY: &str = "tmp-";

const SEALED: &str = "sealed-";
const CORRUPT: &str = "corrupt-";
const CURSOR: &str = "ack-";
const DEAD: &str = "dead-";
const NDJSON: &str = ".ndjson";

/// What orders and names a sealed file: the microsecond of its sealing, and a UUID.
///
/// Written, it is `1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d`: padded, so that names sort as times do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SegmentId {
    pub(crate) micros: u64,
    uuid: u128,
}

impl SegmentId {
    pub(crate) const MIN: Self = Self { micros: 0, uuid: 0 };

    /// A new id; of `bits`, all but the six that make it a version 4 UUID are kept.
    pub(crate) const fn new(micros: u64, bits: u128) -> Self {
        let uuid = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        Self { micros, uuid }
    }

    /// `sealed-{id}.ndjson`
    pub(crate) fn sealed(self) -> String {
        format!("{SEALED}{self}{NDJSON}")
    }

    /// `corrupt-{id}-{original}`: lines of the file `original` that cannot be read.
    pub(crate) fn corrupt(self, original: &str) -> String {
        format!("{CORRUPT}{self}-{original}")
    }

    /// `ack-{id}-{sink}.json`: how far a sink has come.
    pub(crate) fn cursor(self, sink: &str) -> String {
        format!("{CURSOR}{self}-{sink}.json")
    }

    /// `dead-{id}.ndjson`: what a sink refused for good. The id is that of the sealed file and the sink together, so
    /// that the same refusal is always told to the same file.
    pub(crate) fn dead(self, sink: &str) -> String {
        format!("{DEAD}{}{NDJSON}", Self::new(self.micros, mixed(self.uuid, sink)))
    }

    /// Reads an id from the beginning of a text; gives the rest too.
    fn read(text: &str) -> Option<(Self, &str)> {
        const UUID: usize = 36;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (micros, rest) = text.split_at_checked(digits)?;
        let (uuid, rest) = rest.strip_prefix('-')?.split_at_checked(UUID)?;
        let hex: String = uuid.split('-').collect();
        // Later ones would leave no room for ids behind them.
        let micros = micros.parse().ok().filter(|micros| *micros < 100_000_000_000_000_000)?;
        let id = Self { micros, uuid: u128::from_str_radix(&hex, 16).ok()? };
        // Exactly as we write it, so that no two names have one id.
        text.starts_with(&id.to_string()).then_some((id, rest))
    }
}

/// A number of a number and a name (FNV-1a).
pub(crate) fn mixed(number: u128, name: &str) -> u128 {
    let mix = |bits: u128, byte: &u8| {
        (bits ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    };
    name.as_bytes().iter().fold(number, mix)
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| (self.uuid >> shift) & ((1 << (digits * 4)) - 1);
        write!(
            f,
            "{:016}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            self.micros,
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

/// What a file is, by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Name<'a> {
    Active,
    Sealed(SegmentId),
    /// A sealed file whose name another hand wrote, and the time that it names, if any.
    SealedElsewhere(u64),
    Corrupt {
        id: Option<SegmentId>,
        original: &'a str,
    },
    Cursor {
        segment: SegmentId,
        sink: &'a str,
    },
    Dead(Option<SegmentId>),
    Temporary,
    /// Not ours; never read, never counted, never removed.
    Foreign,
}

impl<'a> Name<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        if name == ACTIVE {
            return Self::Active;
        }
        if name.starts_with(TEMPORARY) {
            return Self::Temporary;
        }
        if let Some(stem) = name.strip_prefix(SEALED).and_then(|rest| rest.strip_suffix(NDJSON)) {
            return match SegmentId::read(stem) {
                Some((id, "")) => Self::Sealed(id),
                _ => {
                    let digits = stem.bytes().take_while(u8::is_ascii_digit).count().min(16);
                    Self::SealedElsewhere(stem.get(..digits).unwrap_or_default().parse().unwrap_or_default())
                }
            };
        }
        if let Some(rest) = name.strip_prefix(CORRUPT) {
            let read = SegmentId::read(rest);
            let original = read.and_then(|(_, rest)| rest.strip_prefix('-'));
            return Self::Corrupt { id: read.map(|(id, _)| id), original: original.unwrap_or_default() };
        }
        if let Some(rest) = name.strip_prefix(DEAD).and_then(|rest| rest.strip_suffix(NDJSON)) {
            return Self::Dead(SegmentId::read(rest).map(|(id, _)| id));
        }
        let cursor = name.strip_prefix(CURSOR).and_then(|rest| rest.strip_suffix(".json"));
        if let Some((segment, rest)) = cursor.and_then(SegmentId::read)
            && let Some(sink) = rest.strip_prefix('-')
        {
            return Self::Cursor { segment, sink };
        }
        Self::Foreign
    }

    /// The time in the name.
    pub(crate) fn micros(&self) -> u64 {
        match self {
            Self::Sealed(id) | Self::Cursor { segment: id, .. } => id.micros,
            Self::SealedElsewhere(micros) => *micros,
            Self::Corrupt { id, .. } | Self::Dead(id) => id.map_or(0, |id| id.micros),
            Self::Active | Self::Temporary | Self::Foreign => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1700000000000000-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d";

    fn id() -> SegmentId {
        SegmentId::new(1_700_000_000_000_000, 0x0a1b_2c3d_4e5f_0a6b_0c7d_9e8f_0a1b_2c3d)
    }

    #[test]
    fn names_are_those_of_the_format() {
        assert_eq!(id().to_string(), ID);
        assert_eq!(id().sealed(), format!("sealed-{ID}.ndjson"));
        assert_eq!(id().corrupt(&id().sealed()), format!("corrupt-{ID}-sealed-{ID}.ndjson"));
        assert_eq!(id().cursor("webhook"), format!("ack-{ID}-webhook.json"));
        assert_ne!(id().dead("webhook"), id().dead("kafka"));
        assert_eq!(
            SegmentId::new(7, 0).sealed(),
            "sealed-0000000000000007-00000000-0000-4000-8000-000000000000.ndjson"
        );
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(Name::of(&id().sealed()), Name::Sealed(id()));
        assert_eq!(
            Name::of(&id().corrupt("active.ndjson")),
            Name::Corrupt { id: Some(id()), original: "active.ndjson" }
        );
        assert_eq!(Name::of(&id().cursor("a-b")), Name::Cursor { segment: id(), sink: "a-b" });
        assert!(
            matches!(Name::of(&id().dead("webhook")), Name::Dead(Some(dead)) if dead.micros == id().micros)
        );
        assert_eq!(Name::of("active.ndjson"), Name::Active);
        assert_eq!(Name::of("tmp-active.ndjson"), Name::Temporary);
        for foreign in ["LOCK", "notes.txt", "active.ndjson.bak", "sealed-1", "ack-1-x.json", ""] {
            assert_eq!(Name::of(foreign), Name::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_sealed_file_of_another_hand_is_known_by_its_time() {
        let shouted = format!("sealed-{}.ndjson", ID.to_uppercase());
        for (name, micros) in [
            ("sealed-1.ndjson", 1),
            ("sealed-.ndjson", 0),
            ("sealed-x.ndjson", 0),
            ("sealed-5-0a1b2c3d-4e5f-4a6b-8c7d-9e8f0a1b2c3d.ndjson", 5),
            (shouted.as_str(), 1_700_000_000_000_000),
            ("sealed-99999999999999999999999999-x.ndjson", 9_999_999_999_999_999),
            ("sealed-\u{20ac}.ndjson", 0),
        ] {
            assert_eq!(Name::of(name), Name::SealedElsewhere(micros), "{name}");
        }
    }

    #[test]
    fn ids_sort_as_their_names() {
        let mut ids = [
            SegmentId::new(10, 1),
            SegmentId::new(9, 5),
            SegmentId::new(10, 0),
            SegmentId::new(1_700_000_000_000_000, 3),
        ];
        ids.sort();
        assert!(ids.map(SegmentId::sealed).is_sorted());
    }
}
