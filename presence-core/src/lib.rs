#![doc = include_str!("../README.md")]
#![warn(clippy::arithmetic_side_effects)]

mod activity;
mod error;
mod event;
mod id;
mod memory;
mod outbox;
mod policy;
mod ports;
mod room;
mod service;
mod time;
mod tracking;

#[cfg(feature = "conformance")]
#[expect(clippy::arithmetic_side_effects, reason = "cases count in small numbers")]
pub mod conformance;

#[cfg(feature = "system-clock")]
pub use ports::clock::SystemClock;
pub use {
    activity::{
        daily::{Audit, DailyActiveStats},
        event_log::{Appended, ClientEvent, EventLog, NewEvent},
        identity::{ActiveUsers, IdentityFold},
        online::{Interval, OnlineHistory, OnlinePoint, OnlineSnapshot, TimeWindow},
        period::Period,
        policy::{ActivityPolicy, CountedEvents, Horizon},
        properties::EventProperties,
        sighting::{EventRank, Region, RegionName, RegionRef, Sighting, SightingPlace, SightingRef},
    },
    error::{Error, Rejection, StoreError},
    event::Event,
    id::{CheckpointId, EventId, EventName, InstallId, Member, RoomId, UserId},
    memory::{
        live_set::{Changes, InstallRef, MemberRef, MemoryLiveSet, SeenRef, UserRef},
        store::MemoryStore,
    },
    outbox::{
        kind::EventKind,
        letter::{DeadLetter, Letter, SinkBooks},
        retry::RetryPolicy,
        subscriptions::{Outgoing, SinkName, Subscribed, Subscriptions},
    },
    policy::Policy,
    ports::{
        activity_query::{ActivityQuery, StoredDay},
        activity_store::{ActivityStore, DayMark, DayMarks, Figures, Retired},
        checkpoint_query::{CheckpointQuery, Place, Record},
        checkpoint_store::{CheckpointStore, Erasure},
        clock::{Clock, ManualClock},
        live_set::{LiveSet, Seen},
        outbox::{Claim, KeySpan, Outbox, OutboxQuery, Which},
        room_feed::{Behind, Feed, RoomFeed},
        room_query::{Part, RoomQuery},
        room_store::{RetiredRooms, RoomStore},
        sink::{Delivered, Delivery, Sink, SinkError},
        snapshot_store::SnapshotStore,
        summary_cache::SummaryCache,
    },
    room::{
        admins::Admins,
        batch::{Batch, Lease, NewRoom, RoomCounters, RoomRow, StoredRoom, TakenRoom, Written},
        command::{Asker, Command, ConnectionId, Moment, Priority},
        decide::Room,
        effect::{CloseReason, Effect},
        message::{Action, AdminAction, ChatMessage, Epoch, InRoom, Position, RoomRole, RoomSession},
        name::{ChatText, Nickname, RoomName},
        pagination::{PageNumber, Pagination},
        policy::RoomPolicy,
        protocol::{ClientFrame, Frame, Ping, ServerFrame},
        roster::{RoomMember, RoomStats},
    },
    service::{
        activity::{Activity, Logged, Refold, Retained},
        beats::Beats,
        flush::Flush,
        heartbeat::{Heartbeat, HeartbeatRef, Taken},
        page::{Cursor, Page},
        recorded::Recorded,
        relay::{Relay, Step},
        rooms::{Opening, RoomHistory, Rooms, Settled},
        summaries::Summarised,
        tracker::{Sweep, Tracker},
    },
    time::{LocalDay, Timestamp, Window, Zone},
    tracking::{
        checkpoint::{Checkpoint, NewCheckpoint, Source},
        command::Envelope,
        commit::{Ask, Beat, Commit, Context, Fingerprint, Outcome, Request, Row},
        content::Content,
        decide::{Answer, Decision, Stamped, decide, expire},
        duration::{Facts, StateDuration, Status, Tally},
        fold::{ClosedDay, Fold, Kept, Mark},
        session::{Session, Version},
        state::{CustomState, StateType},
        summary::DaySummary,
        timeout::is_alive,
        vigil::Vigil,
    },
};
