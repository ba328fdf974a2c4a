//! A room with all that happened in it last.

use presence_core::Event;

use super::{Channel, EventSink};
use crate::routes::{room_history::Data, rooms::Described};

impl EventSink {
    /// Hands over each room when it is made, as `GET /management/sync` shows it then.
    #[must_use]
    pub fn made_rooms(channel: Channel) -> Self {
        Self::new(channel, body)
    }
}

fn body(event: &Event) -> Option<Vec<u8>> {
    let Event::RoomCreated { room, room_name, admins, at } = event else { return None };
    // As it was when it was made, so that every attempt says the same.
    let room = Described::made(room.clone(), room_name.clone(), admins.clone(), *at);
    serde_json::to_vec(&Data::made(room)).ok()
}
