//! What a crash leaves of a disk.

use std::collections::BTreeMap;

use super::disk::{Change, Inode, State};
use crate::random::Random;

/// How much of what nobody synced is there afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Policy {
    /// Nothing: the power failed.
    Drop,
    /// All: the process ended.
    Keep,
    /// Any part of it, in any order of arrival.
    Subset,
    /// All but parts of the last write to each file, sector by sector, or from some byte on.
    Torn,
    /// Each file has its length, and zeros from somewhere on.
    Zeros,
    /// All that is in files; of names only what was done first.
    UndoneNames,
}

impl Policy {
    pub(super) const ALL: [Self; 6] =
        [Self::Drop, Self::Keep, Self::Subset, Self::Torn, Self::Zeros, Self::UndoneNames];

    /// The disk after the crash.
    pub(super) fn image(self, state: &State, random: &mut Random) -> State {
        let mut names = state.durable.clone();
        let kept = match self {
            Self::UndoneNames => below(random, state.pending.len()),
            _ => state.pending.len(),
        };
        for naming in &state.pending[..kept] {
            match self {
                Self::Drop => {}
                Self::Subset if random.number().is_multiple_of(2) => {}
                _ => naming.apply(&mut names),
            }
        }
        let mut image = State::default();
        for (name, file) in names {
            let content = self.content(&state.files[file], random);
            let place = image.files.len();
            image.files.push(Inode { durable: content.clone(), seen: content, pending: Vec::new() });
            image.seen.insert(name, place);
        }
        image.durable = BTreeMap::clone(&image.seen);
        image
    }

    fn content(self, file: &Inode, random: &mut Random) -> Vec<u8> {
        let mut content = file.durable.clone();
        match self {
            Self::Drop => {}
            Self::Keep | Self::UndoneNames => content.clone_from(&file.seen),
            Self::Subset => {
                for change in &file.pending {
                    if random.number().is_multiple_of(2) {
                        change.apply(&mut content);
                    }
                }
            }
            Self::Torn => {
                let Some((last, before)) = file.pending.split_last() else { return content };
                before.iter().for_each(|change| change.apply(&mut content));
                tear(last, &mut content, random);
            }
            Self::Zeros => {
                let first = file.pending.iter().filter_map(|change| match change {
                    Change::Write { offset, .. } => Some(*offset),
                    Change::SetLen(_) => None,
                });
                let first = first.min();
                file.pending.iter().for_each(|change| change.apply(&mut content));
                if let Some(first) = first.filter(|first| *first < content.len()) {
                    let from = first + below(random, content.len() - first);
                    content[from..].fill(0);
                }
            }
        }
        content
    }
}

fn tear(change: &Change, content: &mut Vec<u8>, random: &mut Random) {
    const SECTOR: usize = 64;
    let Change::Write { offset, bytes } = change else { return };
    if random.number().is_multiple_of(2) {
        let bytes = bytes[..below(random, bytes.len() + 1)].to_vec();
        return Change::Write { offset: *offset, bytes }.apply(content);
    }
    for (place, sector) in bytes.chunks(SECTOR).enumerate() {
        if random.number().is_multiple_of(2) {
            let (offset, bytes) = (offset + place * SECTOR, sector.to_vec());
            Change::Write { offset, bytes }.apply(content);
        }
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    if limit == 0 { 0 } else { random.number() as usize % limit }
}
