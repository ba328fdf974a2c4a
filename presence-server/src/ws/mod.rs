//! Rooms over WebSocket: sockets on one side, [`Room`](presence_core::Room) on the other.
//!
//! ```text
//! socket ─ connection ──high──▶ ┌───────────┐ ──batches──▶ Rooms::write
//!             ▲       ──low───▶ │ room_task │
//!             └──── queue ───── └───────────┘     hub: which rooms are open here
//! ```
//!
//! A room is one task, and decides nothing: `Room` does, and the task does what its effects say. A connection is one task
//! too. Nobody ever waits for a member: what is for it goes into its queue, and whose queue is full is closed.

mod audience;
mod connection;
mod handshake;
mod hub;
mod queue;
mod room_handle;
mod room_task;

pub(crate) use self::handshake::{__path_join, join};
pub use self::hub::Hub;
pub(crate) use self::room_handle::{Answer, RoomHandle};
