//! An outbox by hand, on a simulated disk: what stories of single moments share.

use std::{io::ErrorKind, time::Duration};

use super::{
    disk::SimFs,
    script::{Event, parse},
};
use crate::{appender::Encoded, host::Now, record::encode, writer::Opened};

pub(super) const NOW: Now = Now { micros: 1_700_000_000_000_000, tick: Duration::ZERO };

pub(super) fn later(time: Duration) -> Now {
    Now { tick: time, ..NOW }
}

pub(super) fn encoded(ids: impl IntoIterator<Item = usize>) -> Encoded {
    let mut encoded = Encoded::default();
    for id in ids {
        encode(&Event::new(id), true, &mut encoded.bytes).expect("JSON");
        encoded.ends.push(encoded.bytes.len());
    }
    encoded
}

pub(super) fn append(
    outbox: &mut Opened<SimFs>,
    ids: impl IntoIterator<Item = usize>,
) -> Result<(), ErrorKind> {
    let answer = outbox.appender.append(&[&encoded(ids)], NOW).remove(0);
    answer.map(drop).map_err(|error| error.kind())
}

/// What a sink gets, all of it acknowledged.
pub(super) fn drain(outbox: &mut Opened<SimFs>, sink: usize) -> Vec<usize> {
    let mut ids = Vec::new();
    while let Some(claim) = outbox.relay.claim(sink, later(Duration::from_secs(600)), parse) {
        ids.extend(claim.events.iter().map(|event| event.id));
        assert!(outbox.relay.ack(sink, claim.id, claim.events.len(), later(Duration::from_secs(600))));
    }
    ids
}
