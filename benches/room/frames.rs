//! The frames of RFC 6455, as far as members need them: none is in parts.

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// The end.
    Close,
    /// Asks whether somebody is there.
    Ping,
    /// Says so.
    Pong,
    /// Whatever else there is.
    Other,
}

/// A frame in a buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// What is in it.
    pub payload: &'a [u8],
    /// How many bytes of the buffer it takes.
    pub end: usize,
}

/// The first frame of a server in `bytes`; `None` where it is not whole.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<Frame<'_>> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match second & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize, 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        length => (length as usize, 2),
    };
    let end = start + length;
    let kind = match first {
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        _ => Kind::Other,
    };
    Some(Frame { kind, payload: bytes.get(start..end)?, end })
}

/// A frame of a client, of at most 64 KiB. The mask is of zeros, which changes nothing and costs nothing.
#[must_use]
pub fn masked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![match kind {
        Kind::Text => 0x81,
        Kind::Close => 0x88,
        Kind::Ping => 0x89,
        Kind::Pong => 0x8a,
        Kind::Other => 0x82,
    }];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_by_its_length() {
        let long = [&[0x81, 126, 1, 0][..], &[b'x'; 256], b"\x89\x00"].concat();
        assert_eq!(whole(&long), Some(Frame { kind: Kind::Text, payload: &[b'x'; 256], end: 260 }));
        assert_eq!(whole(&long[260..]), Some(Frame { kind: Kind::Ping, payload: b"", end: 2 }));
        assert_eq!(whole(&long[..259]), None);
        assert_eq!(whole(b"\x81"), None);
    }
}
