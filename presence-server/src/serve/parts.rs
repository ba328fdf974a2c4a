//! How WebSocket messages are cut up.

/// The most frames that a message may come in.
const MOST: u32 = 64;

/// Counts the frames of each message (RFC 6455) as the bytes of a connection go by. The library that puts messages
/// together bounds their bytes, and not their frames: a message of 64 Ki frames of nothing would be one to it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The head of a frame, as far as it is known. The mask belongs to what is passed over.
    head: [u8; 10],
    known: usize,
    /// What of the frame is to be passed over.
    rest: u64,
    /// How many frames the message has so far.
    count: u32,
    are_too_many: bool,
}

impl Parts {
    /// Looks at the bytes that come next.
    pub(super) fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.are_too_many {
            let passed = usize::try_from(self.rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
            let (_, next) = bytes.split_at(passed);
            self.rest = self.rest.saturating_sub(passed as u64);
            let Some((byte, next)) = next.split_first() else { break };
            bytes = next;
            if let Some(place) = self.head.get_mut(self.known) {
                *place = *byte;
            }
            self.known += 1;
            self.settle();
        }
    }

    /// Whether a message came in more frames than it may.
    pub(super) const fn are_too_many(&self) -> bool {
        self.are_too_many
    }

    /// Takes a frame into account whose head is whole.
    fn settle(&mut self) {
        let [first, second, extended @ ..] = self.head;
        let (length, whole) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([extended[0], extended[1]])), 4),
            127 => (u64::from_be_bytes(extended), 10),
            length => (u64::from(length), 2),
        };
        if self.known < 2 || self.known < whole {
            return;
        }
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        (self.known, self.rest) = (0, length.saturating_add(mask));
        // Control frames stand between those of a message.
        if first & 0x08 == 0 {
            self.count += 1;
            self.are_too_many = self.count > MOST;
            if first & 0x80 != 0 {
                self.count = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame of so many bytes.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let head = match length {
            0..126 => vec![first, 0x80 | length as u8],
            126..0x1_0000 => [&[first, 0x80 | 126], &(length as u16).to_be_bytes()[..]].concat(),
            _ => [&[first, 0x80 | 127], &(length as u64).to_be_bytes()[..]].concat(),
        };
        // Payloads that would be heads of their own.
        [head, vec![0x01; length + 4]].concat()
    }

    fn message(parts: usize, length: usize) -> Vec<u8> {
        let (first, last) = (frame(0x01, length), frame(0x80, length));
        [first, frame(0x00, length).repeat(parts - 2), last].concat()
    }

    fn are_too_many(bytes: &[u8], at_a_time: usize) -> bool {
        let mut parts = Parts::default();
        bytes.chunks(at_a_time).for_each(|bytes| parts.look(bytes));
        parts.are_too_many()
    }

    #[test]
    fn a_message_has_64_parts_at_most() {
        for length in [0, 1, 125, 126, 300, 70_000] {
            for at_a_time in [1, 3, 1024, usize::MAX] {
                let whole =
                    [frame(0x81, length).repeat(100), message(64, length), message(64, length)].concat();
                assert!(!are_too_many(&whole, at_a_time), "{length} bytes, {at_a_time} at a time");
                assert!(
                    are_too_many(&message(65, length), at_a_time),
                    "{length} bytes, {at_a_time} at a time"
                );
            }
        }
    }

    #[test]
    fn control_frames_are_no_parts() {
        let part = [frame(0x00, 3), frame(0x89, 4), frame(0x8a, 0)].concat();
        let parts = [frame(0x01, 2), part.repeat(62), frame(0x80, 1)].concat();
        assert!(!are_too_many(&parts, 7));
        assert!(are_too_many(&[parts, frame(0x01, 0), part.repeat(64)].concat(), 7));
    }

    #[test]
    fn a_length_that_nobody_sends_is_passed_over() {
        let bytes = [&[0x81, 0xff], &u64::MAX.to_be_bytes()[..], &[0; 100]].concat();
        assert!(!are_too_many(&bytes, 1));
    }
}
