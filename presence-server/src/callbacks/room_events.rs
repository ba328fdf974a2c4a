//! What happens in rooms, in the form and the units of the room surface.

use presence_core::{Event, RoomId, RoomName, RoomStats, UserId};
use serde::Serialize;

use super::{Channel, EventSink};

/// An event as ROOM_EVENT_CALLBACK_URL gets it: stamps and durations are whole seconds.
#[derive(Serialize)]
#[serde(tag = "event_type")]
enum RoomEvent<'a> {
    RoomCreated { room_id: &'a RoomId, room_name: &'a RoomName, admin_ids: &'a [UserId], timestamp: i64 },
    RoomClosed { room_id: &'a RoomId, final_stats: FinalStats, timestamp: i64 },
    UserJoined { room_id: &'a RoomId, user_id: &'a UserId, timestamp: i64 },
    UserLeft { room_id: &'a RoomId, user_id: &'a UserId, duration: i64, timestamp: i64 },
}

#[derive(Serialize)]
struct FinalStats {
    current_users: u64,
    peak_users: u64,
    total_joins: u64,
}

impl EventSink {
    /// Tells of rooms: each event as `{"event_type": "UserJoined", "room_id": .., "user_id": .., "timestamp": ..}`, and the
    /// like for `RoomCreated`, `RoomClosed` and `UserLeft`.
    #[must_use]
    pub fn room_events(channel: Channel) -> Self {
        Self::new(channel, body)
    }
}

fn body(event: &Event) -> Option<Vec<u8>> {
    let timestamp = event.at().as_secs();
    let event = match event {
        Event::RoomCreated { room, room_name, admins, .. } => {
            RoomEvent::RoomCreated { room_id: room, room_name, admin_ids: admins, timestamp }
        }
        Event::RoomClosed { room, stats, .. } => {
            let RoomStats { current_users, peak_users, total_joins } = *stats;
            let final_stats = FinalStats { current_users, peak_users, total_joins };
            RoomEvent::RoomClosed { room_id: room, final_stats, timestamp }
        }
        Event::UserJoined { room, user, .. } => {
            RoomEvent::UserJoined { room_id: room, user_id: user, timestamp }
        }
        Event::UserLeft { room, user, duration_ms, .. } => {
            let duration = duration_ms.div_euclid(1000);
            RoomEvent::UserLeft { room_id: room, user_id: user, duration, timestamp }
        }
        _ => return None,
    };
    serde_json::to_vec(&event).ok()
}

#[cfg(test)]
mod tests {
    use presence_core::{StateType, Timestamp};

    use super::*;

    #[test]
    fn an_event_of_a_room_reads_as_on_the_room_surface() {
        let room = RoomId::new("r-1").unwrap();
        let user = UserId::new("alice").unwrap();
        let at = Timestamp::from_millis(1_717_161_600_999).unwrap();
        let text = |event: Event| body(&event).map(|body| String::from_utf8(body).unwrap());
        let made = Event::RoomCreated {
            room: room.clone(),
            room_name: RoomName::new("Lobby").unwrap(),
            admins: vec![user.clone()],
            at,
        };
        let stats = RoomStats { current_users: 0, peak_users: 2, total_joins: 3 };
        for (event, expected) in [
            (
                made,
                r#"{"event_type":"RoomCreated","room_id":"r-1","room_name":"Lobby","admin_ids":["alice"],"timestamp":1717161600}"#,
            ),
            (
                Event::RoomClosed { room: room.clone(), stats, at },
                r#"{"event_type":"RoomClosed","room_id":"r-1","final_stats":{"current_users":0,"peak_users":2,"total_joins":3},"timestamp":1717161600}"#,
            ),
            (
                Event::UserJoined { room: room.clone(), user: user.clone(), session: 7, at },
                r#"{"event_type":"UserJoined","room_id":"r-1","user_id":"alice","timestamp":1717161600}"#,
            ),
            (
                Event::UserLeft { room, user: user.clone(), session: 7, duration_ms: 61_999, at },
                r#"{"event_type":"UserLeft","room_id":"r-1","user_id":"alice","duration":61,"timestamp":1717161600}"#,
            ),
        ] {
            assert_eq!(text(event).as_deref(), Some(expected));
        }
        let other = Event::StateChanged {
            user,
            before: None,
            after: StateType::Working,
            at,
            source: presence_core::Source::Client,
            version: presence_core::Version(1),
        };
        assert_eq!(text(other), None);
    }
}
