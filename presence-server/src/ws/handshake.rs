//! The request that becomes a member's connection.

use axum::{
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use presence_core::{Epoch, Nickname, Position, RoomId, UserId};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{
    connection::{Joining, serve},
    hub::Absent,
};
use crate::{
    AppState,
    auth::Principal,
    extract::{Asker, Params, Segments},
    openapi::schemas,
    problem::Problem,
};

/// The subprotocol that is chosen where the client offers it.
const PROTOCOL: &str = "presence.v1";

/// How much a socket buffers. The defaults of the library cost 133 KB a member, and two fifths of the speed.
const READ_BUFFER: usize = 512;
const WRITE_BUFFER: usize = 16 * 1024;
/// The longest frame, and message, in bytes: the 64 KiB of an administrator's message, and what JSON makes of them.
const FRAME_BYTES: usize = 80 * 1024;
/// The most that waits in a socket for a client to read; room for a frame beyond the buffer.
const UNSENT: usize = WRITE_BUFFER + 2 * FRAME_BYTES;

/// Who joins, and where it was.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asks {
    /// Who joins. Where users show tokens: the token's user, and may be left out.
    #[param(required = false, value_type = schemas::UserId)]
    user_id: Option<String>,
    /// What the user calls itself: 1 to 64 characters.
    #[param(required = true, value_type = String, min_length = 1)]
    nickname: Option<String>,
    /// To come back: the place of the last message that was seen. Both or neither.
    #[param(required = false, value_type = i64)]
    epoch: Option<i64>,
    #[param(required = false, value_type = i64)]
    seq: Option<i64>,
}

impl Asks {
    fn joining(self, principal: &Principal) -> Result<(UserId, Nickname, Option<Position>), Problem> {
        let user = match (self.user_id, principal.user()) {
            (Some(named), _) => UserId::new(named)?,
            (None, Some(own)) => own.clone(),
            (None, None) => return Err(Problem::bad_request("INVALID_USER_ID", "user_id is missing")),
        };
        // Not even an administrator of the deployment speaks in another's name.
        if principal.user().is_some_and(|own| *own != user) {
            return Err(Problem::forbidden());
        }
        let nickname =
            self.nickname.ok_or_else(|| Problem::bad_request("INVALID_NICKNAME", "nickname is missing"))?;
        let seen = match (self.epoch, self.seq) {
            (Some(epoch), Some(seq)) => Some(Position { epoch: Epoch(epoch), seq }),
            (None, None) => None,
            _ => return Err(Problem::bad_request("INVALID_QUERY", "epoch and seq come together")),
        };
        Ok((user, Nickname::new(&nickname)?, seen))
    }
}

/// Joins a room, as a WebSocket.
///
/// Frames are JSON text `{"type": .., "payload": ..}`. A token may also come as the subprotocol `bearer.<token>`; offer
/// `presence.v1` beside it. Pages of other hosts are refused unless `CORS_ORIGINS` names them.
#[utoipa::path(
    get, path = "/ws/rooms/{room_id}", operation_id = "joinRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), Asks),
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 403, description = "The token is another user's, or the page another host's (`FORBIDDEN`)."),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn join(
    State(state): State<AppState>,
    Asker(principal): Asker,
    segments: Segments,
    Params(asks): Params<Asks>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let room_id = RoomId::new(segments.named("room_id").unwrap_or_default())?;
    let (user_id, nickname, seen) = asks.joining(&principal)?;
    let upgrade = upgrade.map_err(|_| Problem::bad_request("INVALID_UPGRADE", "this is a WebSocket"))?;
    let origin = headers.get(header::ORIGIN).filter(|origin| !is_of(origin, &headers));
    if origin.is_some_and(|origin| !state.settings().cors_origins.allow(origin)) {
        return Err(Problem::foreign_page());
    }
    let hub = state.hub().clone();
    let room = hub.find(&room_id).await.map_err(|absent| absent.problem(&room_id))?;
    // However the clock of the store steps from here on.
    let left = principal.until().map(|until| until.since(state.tracker().now()));
    let until = left.and_then(|left| Instant::now().checked_add(left));
    let joining = Joining { connection: hub.connection(), user_id, nickname, seen, until };
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(UNSENT)
        .max_frame_size(FRAME_BYTES)
        .max_message_size(FRAME_BYTES);
    // A task of its own: that of the upgrade is as large as all that went before.
    Ok(upgrade.on_upgrade(async move |socket| hub.spawn(serve(Box::new(socket), joining, room, state))))
}

impl Absent {
    pub(crate) fn problem(self, room: &RoomId) -> Problem {
        match self {
            Self::Unknown => Problem::unknown_room(room),
            Self::Elsewhere => Problem::room_elsewhere(),
            Self::Store(error) => error.into(),
        }
    }
}

/// Whether a page is one of the host that is asked.
fn is_of(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    page.is_some_and(|(_, page)| host.is_some_and(|host| host.eq_ignore_ascii_case(page)))
}
