//! Where the members are kept: one cache line each, in chunks that never move.

use std::{iter, ops};

use super::{
    lives::Life,
    name::{Kind, MemberRef},
};
use crate::{InstallId, Member, Timestamp, UserId};

/// The slots of one chunk: 64 KiB.
const CHUNK: usize = 1024;
const WORDS: usize = CHUNK / 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// The longest id that needs no allocation of its own: a UUID has 36 bytes.
const INLINE: usize = 38;

/// The text of an id.
#[derive(Debug)]
enum Text {
    Short { length: u8, bytes: [u8; INLINE] },
    Long(Box<str>),
}

impl Text {
    const EMPTY: Self = Self::Short { length: 0, bytes: [0; INLINE] };

    fn new(text: &str) -> Self {
        let mut bytes = [0; INLINE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(text) => text.as_bytes(),
        }
    }
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Nobody's: free for the next member.
    Free,
    /// Absent, and kept only until that is written.
    Gone,
    /// Seen, last at `last`.
    Present,
    /// An install that a user was on, last at `last`.
    Bound,
}

/// What a change report still owes about a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owed {
    /// Nothing: its last report is still true.
    Nothing,
    /// What is true of it now.
    State,
    /// That it left, and then what is true of it now.
    Departure,
}

/// One member. Aligned to its size, so that a heartbeat reads and writes one cache line here.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    text: Text,
    pub(super) last: Timestamp,
    pub(super) hash: u32,
    /// The second in whose queue it waits, while present or bound.
    pub(super) queue: u32,
    /// Where in that queue; in a free slot, the next free one.
    pub(super) position: u32,
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) owed: Owed,
}

const _: () = assert!(size_of::<Slot>() == 64, "one member is one cache line");

impl Slot {
    #[inline]
    pub(super) fn is(&self, member: MemberRef<'_>) -> bool {
        self.kind == member.kind() && self.text.as_bytes() == member.text().as_bytes()
    }

    /// The kind and the text: they order as the written members do.
    pub(super) fn key(&self) -> (Kind, &[u8]) {
        (self.kind, self.text.as_bytes())
    }

    pub(super) fn member(&self) -> Member {
        match self.kind {
            Kind::Install => Member::Install(self.install()),
            Kind::User => Member::User(self.user()),
        }
    }

    /// The id of a member that is a user.
    pub(super) fn user(&self) -> UserId {
        // The text came in as a `MemberRef`, so it is valid text and a valid id of its kind.
        UserId::new(self.text()).expect("a valid user id")
    }

    /// The id of a member that is an install.
    pub(super) fn install(&self) -> InstallId {
        // As in `user`.
        InstallId::new(self.text()).expect("a valid install id")
    }

    fn text(&self) -> &str {
        // As in `user`: the bytes were cut from nothing.
        str::from_utf8(self.text.as_bytes()).expect("valid text")
    }
}

/// A fixed run of slots for members of one kind.
#[derive(Debug)]
struct Chunk {
    slots: Box<[Slot]>,
    /// The lives of the users in these slots; empty until the first of them is known.
    lives: Box<[Life]>,
    /// Which slots owe a report.
    owing: [u64; WORDS],
    /// Which users have beats that are not written yet.
    pending: [u64; WORDS],
}

/// All slots. Growing adds a chunk and copies nothing; a slot keeps its number until it is released, and memory is
/// kept for the next members.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Vec<Chunk>,
    /// The next free slot for an install, and for a user.
    free: [u32; 2],
    /// How many users have beats that are not written yet.
    pending: usize,
}

impl Slots {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: [NONE; 2], pending: 0 }
    }

    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The slots of one chunk, and their numbers; none where there is no such chunk.
    pub(super) fn chunk(&self, index: usize) -> Option<impl Iterator<Item = (u32, &Slot)>> {
        let slots = &self.chunks.get(index)?.slots;
        let first = u32::try_from(index.checked_mul(CHUNK)?).ok()?;
        Some((first..).zip(slots))
    }

    /// Whether the next slot for a member of this kind takes more memory.
    pub(super) const fn is_full(&self, kind: Kind) -> bool {
        self.free[kind as usize] == NONE
    }

    /// A slot for a new member, of whom nothing is known yet.
    ///
    /// # Panics
    ///
    /// At 4 billion members, which need 256 GiB; nothing has changed then.
    pub(super) fn insert(&mut self, member: MemberRef<'_>, hash: u32) -> u32 {
        let kind = member.kind();
        if self.is_full(kind) {
            self.grow(kind);
        }
        let id = self.free[kind as usize];
        let slot = &mut self[id];
        let next = slot.position;
        slot.text = Text::new(member.text());
        slot.kind = kind;
        slot.hash = hash;
        slot.state = State::Gone;
        self.free[kind as usize] = next;
        id
    }

    /// Frees a slot, whose user has nothing pending.
    pub(super) fn release(&mut self, id: u32) {
        self.settle(id);
        if let Some(life) = self.life_mut(id) {
            *life = Life::UNKNOWN;
        }
        let kind = self[id].kind;
        let free = self.free[kind as usize];
        let slot = &mut self[id];
        slot.text = Text::EMPTY;
        slot.state = State::Free;
        slot.position = free;
        self.free[kind as usize] = id;
    }

    /// What is known of the life of a user.
    #[inline]
    pub(super) fn life(&self, id: u32) -> Option<&Life> {
        let id = id as usize;
        self.chunks[id / CHUNK].lives.get(id % CHUNK)
    }

    #[inline]
    pub(super) fn life_mut(&mut self, id: u32) -> Option<&mut Life> {
        let id = id as usize;
        self.chunks[id / CHUNK].lives.get_mut(id % CHUNK)
    }

    /// Gives a user this life.
    pub(super) fn set_life(&mut self, id: u32, life: Life) {
        let lives = &mut self.chunks[id as usize / CHUNK].lives;
        if lives.is_empty() {
            *lives = [Life::UNKNOWN; CHUNK].into();
        }
        if let Some(known) = lives.get_mut(id as usize % CHUNK) {
            *known = life;
        }
        self.note_pending(id);
    }

    /// Whether the user has beats that are not written yet.
    #[inline]
    pub(super) fn is_pending(&self, id: u32) -> bool {
        let (chunk, word, bit) = bit_of(id);
        self.chunks[chunk].pending[word] & bit != 0
    }

    /// Notes whether the life of a user has anything pending, after it has changed.
    #[inline]
    pub(super) fn note_pending(&mut self, id: u32) {
        let is_pending = self.life(id).is_some_and(|life| life.is_pending);
        let (chunk, word, bit) = bit_of(id);
        let word = &mut self.chunks[chunk].pending[word];
        match (*word & bit != 0, is_pending) {
            (false, true) => self.pending = self.pending.wrapping_add(1),
            (true, false) => self.pending = self.pending.wrapping_sub(1),
            _ => return,
        }
        *word ^= bit;
    }

    /// How many users have beats that are not written yet.
    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    /// Those of one chunk; `None` where there is no such chunk.
    pub(super) fn pending_in(&self, chunk: usize) -> Option<impl Iterator<Item = u32>> {
        let words = &self.chunks.get(chunk)?.pending;
        let first = u32::try_from(chunk.checked_mul(CHUNK)?).ok()?;
        Some((first..).step_by(64).zip(words).flat_map(|(first, word)| {
            let ones = iter::successors(Some(*word), |word| Some(word & word.wrapping_sub(1)));
            ones.take_while(|word| *word != 0).map(move |word| first.wrapping_add(word.trailing_zeros()))
        }))
    }

    /// Notes that a report is owed about the member; a departure stays owed.
    #[inline]
    pub(super) fn owe(&mut self, id: u32, owed: Owed) {
        let slot = &mut self[id];
        if slot.owed == Owed::Nothing {
            slot.owed = owed;
            let (chunk, word, bit) = bit_of(id);
            self.chunks[chunk].owing[word] |= bit;
        } else if owed == Owed::Departure {
            slot.owed = owed;
        }
    }

    /// Notes that no report is owed about the member any more.
    pub(super) fn settle(&mut self, id: u32) {
        self[id].owed = Owed::Nothing;
        let (chunk, word, bit) = bit_of(id);
        self.chunks[chunk].owing[word] &= !bit;
    }

    /// A member of the chunk about whom a report is owed.
    pub(super) fn owing(&self, chunk: usize) -> Option<u32> {
        let words = &self.chunks.get(chunk)?.owing;
        let word = words.iter().position(|word| *word != 0)?;
        let slot = word.checked_mul(64)?.checked_add(words[word].trailing_zeros() as usize)?;
        u32::try_from(chunk.checked_mul(CHUNK)?.checked_add(slot)?).ok()
    }

    fn grow(&mut self, kind: Kind) {
        let first = self.chunks.len().saturating_mul(CHUNK);
        let ids = u32::try_from(first).ok().and_then(|first| Some(first..first.checked_add(CHUNK as u32)?));
        let ids = ids.expect("fewer than 4 billion members");
        let last = ids.end.wrapping_sub(1);
        let slot = |id: u32| Slot {
            text: Text::EMPTY,
            last: Timestamp::MIN,
            hash: 0,
            queue: 0,
            position: if id == last { NONE } else { id.wrapping_add(1) },
            kind,
            state: State::Free,
            owed: Owed::Nothing,
        };
        self.free[kind as usize] = ids.start;
        let (owing, pending) = ([0; WORDS], [0; WORDS]);
        self.chunks.push(Chunk { slots: ids.map(slot).collect(), lives: Box::default(), owing, pending });
    }
}

impl ops::Index<u32> for Slots {
    type Output = Slot;

    #[inline]
    fn index(&self, id: u32) -> &Slot {
        let id = id as usize;
        &self.chunks[id / CHUNK].slots[id % CHUNK]
    }
}

impl ops::IndexMut<u32> for Slots {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut Slot {
        let id = id as usize;
        &mut self.chunks[id / CHUNK].slots[id % CHUNK]
    }
}

/// The chunk of a slot, the word of its bit there, and the bit.
const fn bit_of(id: u32) -> (usize, usize, u64) {
    let id = id as usize;
    (id / CHUNK, id % CHUNK / 64, 1 << (id % 64))
}
