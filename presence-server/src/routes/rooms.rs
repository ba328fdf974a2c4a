//! `/management/rooms`: rooms as operators see them. Names are snake_case, stamps Unix seconds.

use std::collections::BTreeSet;

use aws_lc_rs::rand;
use axum::{Json, extract::State, http::StatusCode, response::Response};
use presence_core::{
    Admins, Asker, Command, Error, RoomId, RoomName, RoomStats, StoredRoom, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::all_rooms::{Tells, all_rooms};
use crate::{
    AppState,
    extract::{JsonBody, Params, Segments},
    openapi::schemas,
    problem::Problem,
    ws::{Answer, Hub, RoomHandle},
};

/// The room that the path names.
pub(super) fn room_id(segments: &Segments) -> Result<RoomId, Problem> {
    Ok(RoomId::new(segments.named("room_id").unwrap_or_default())?)
}

fn user_id(segments: &Segments) -> Result<UserId, Problem> {
    Ok(UserId::new(segments.named("user_id").unwrap_or_default())?)
}

/// A room to be made.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewRoom {
    #[schema(value_type = schemas::RoomName)]
    room_name: String,
    /// Who may moderate it. Named twice is named once.
    #[schema(required = false, max_items = 1000, value_type = Vec<schemas::UserId>)]
    #[serde(default)]
    admin_user_ids: Vec<String>,
}

/// A room was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Made {
    #[schema(value_type = schemas::RoomId)]
    room_id: RoomId,
    /// Where members join it.
    websocket_url: String,
}

/// Makes a room.
#[utoipa::path(
    post, path = "/management/rooms", operation_id = "createRoom", tag = "rooms",
    request_body(content = NewRoom, example = json!({"room_name": "Lobby", "admin_user_ids": ["alice"]})),
    responses(
        (status = 200, description = "Made.", body = Made, example = json!({
            "room_id": "1f1c8c2e-7d0f-4a6b-9c53-0f6c3f1d2b4a",
            "websocket_url": "/ws/rooms/1f1c8c2e-7d0f-4a6b-9c53-0f6c3f1d2b4a"})),
    ),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    body: JsonBody<NewRoom>,
) -> Result<Json<Made>, Problem> {
    let NewRoom { room_name, admin_user_ids } = body.required()?;
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| Problem::internal())?;
    let room_id = RoomId::new(uuid(random))?;
    let (name, admins) = (RoomName::new(&room_name)?, admins(admin_user_ids)?);
    state.hub().rooms().create(room_id.clone(), name, admins).await?;
    Ok(Json(Made { websocket_url: format!("/ws/rooms/{room_id}"), room_id }))
}

fn admins(users: Vec<String>) -> Result<Admins, Problem> {
    let users = users.into_iter().map(UserId::new).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(Admins::new(users)?)
}

/// A random UUID (RFC 9562, version 4).
fn uuid(random: [u8; 16]) -> String {
    let version = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{version:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// A room, and how many are in it.
#[derive(Serialize, ToSchema)]
#[schema(as = Room)]
pub(crate) struct Described {
    #[schema(value_type = schemas::RoomId)]
    room_id: RoomId,
    #[schema(value_type = schemas::RoomName)]
    room_name: RoomName,
    #[schema(value_type = Vec<schemas::UserId>)]
    admin_user_ids: Vec<UserId>,
    #[schema(value_type = schemas::UnixSeconds)]
    start_time: i64,
    /// Members now.
    #[schema(value_type = schemas::Count)]
    current_users: u64,
    /// The most there ever were.
    #[schema(value_type = schemas::Count)]
    peak_users: u64,
    /// How often somebody joined.
    #[schema(value_type = schemas::Count)]
    total_joins: u64,
}

/// How many are, and were, in a room.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = RoomStats)]
pub(crate) struct Stats {
    /// Members now.
    #[schema(value_type = schemas::Count)]
    current_users: u64,
    /// The most there ever were.
    #[schema(value_type = schemas::Count)]
    peak_users: u64,
    /// How often somebody joined.
    #[schema(value_type = schemas::Count)]
    total_joins: u64,
}

impl From<RoomStats> for Stats {
    fn from(RoomStats { current_users, peak_users, total_joins }: RoomStats) -> Self {
        Self { current_users, peak_users, total_joins }
    }
}

/// How many are, and were, in a room that may be open here.
pub(crate) fn stats(hub: &Hub, room: &StoredRoom) -> RoomStats {
    hub.overview(&room.id).map_or(room.counters.stats, |overview| overview.stats)
}

impl Described {
    pub(crate) fn new(hub: &Hub, room: StoredRoom) -> Self {
        let RoomStats { current_users, peak_users, total_joins } = stats(hub, &room);
        Self {
            room_id: room.id,
            room_name: room.name,
            admin_user_ids: room.admins,
            start_time: room.created_at.as_secs(),
            current_users,
            peak_users,
            total_joins,
        }
    }

    /// A room when it was made, in which nobody was yet.
    pub(crate) const fn made(id: RoomId, name: RoomName, admins: Vec<UserId>, at: Timestamp) -> Self {
        Self {
            room_id: id,
            room_name: name,
            admin_user_ids: admins,
            start_time: at.as_secs(),
            current_users: 0,
            peak_users: 0,
            total_joins: 0,
        }
    }
}

impl Tells for Described {
    async fn tell(hub: &Hub, room: StoredRoom) -> Result<Self, Error> {
        Ok(Self::new(hub, room))
    }
}

/// Lists the rooms that are open, by id. An answer that breaks off is not whole: ask again.
#[utoipa::path(
    get, path = "/management/rooms", operation_id = "listRooms", tag = "rooms",
    responses((status = 200, description = "The rooms.", body = Vec<Described>)),
)]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Response, Problem> {
    all_rooms::<Described>(state).await
}

/// Describes a room that is open.
#[utoipa::path(
    get, path = "/management/rooms/{room_id}", operation_id = "getRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path)),
    responses(
        (status = 200, description = "The room.", body = Described),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn one(
    State(state): State<AppState>,
    segments: Segments,
) -> Result<Json<Described>, Problem> {
    let id = room_id(&segments)?;
    let room = state.hub().rooms().room(&id).await?.filter(|room| room.closed_at.is_none());
    let room = room.ok_or_else(|| Problem::unknown_room(&id))?;
    Ok(Json(Described::new(state.hub(), room)))
}

/// Has an operator's command carried out and stored; says whether it changed anything.
async fn command(state: &AppState, id: &RoomId, command: Command) -> Result<bool, Problem> {
    let room: RoomHandle = state.hub().find(id).await.map_err(|absent| absent.problem(id))?;
    match room.ask(command).await {
        Answer::Done(changed) => Ok(changed),
        // It may be open still, and only leave this node.
        Answer::Over if state.hub().rooms().room(id).await?.is_some_and(|room| room.closed_at.is_none()) => {
            Err(Problem::room_elsewhere())
        }
        Answer::Over => Err(Problem::unknown_room(id)),
        Answer::Moved => Err(Problem::room_elsewhere()),
    }
}

/// What became of an operator's command. It is stored, and in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changed {
    /// Whether it changed anything.
    changed: bool,
}

/// Has what an operator does to the user of the path carried out.
async fn moderate(
    state: &AppState,
    segments: &Segments,
    order: impl FnOnce(Asker, UserId) -> Command,
) -> Result<Json<Changed>, Problem> {
    let (id, user_id) = (room_id(segments)?, user_id(segments)?);
    let changed = command(state, &id, order(Asker::Operator, user_id)).await?;
    Ok(Json(Changed { changed }))
}

/// Who is to moderate a room.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewAdmins {
    /// All of them. Named twice is named once.
    #[schema(max_items = 1000, value_type = Vec<schemas::UserId>)]
    admin_user_ids: Vec<String>,
}

/// Replaces the administrators of a room, at once also for those who are in it.
#[utoipa::path(
    put, path = "/management/rooms/{room_id}/admins", operation_id = "setRoomAdmins", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path)),
    request_body(content = NewAdmins, example = json!({"admin_user_ids": ["alice"]})),
    responses(
        (status = 200, description = "Replaced.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn set_admins(
    State(state): State<AppState>,
    segments: Segments,
    body: JsonBody<NewAdmins>,
) -> Result<Json<Changed>, Problem> {
    let id = room_id(&segments)?;
    let admins = admins(body.required()?.admin_user_ids)?;
    let changed = command(&state, &id, Command::SetAdmins { admins }).await?;
    Ok(Json(Changed { changed }))
}

/// Takes a user out of a room for good.
#[utoipa::path(
    put, path = "/management/rooms/{room_id}/bans/{user_id}", operation_id = "banFromRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), ("user_id" = schemas::UserId, Path)),
    responses(
        (status = 200, description = "Banned.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn ban(State(state): State<AppState>, segments: Segments) -> Result<Json<Changed>, Problem> {
    moderate(&state, &segments, |by, user_id| Command::Ban { by, user_id }).await
}

/// Lets a user who was banned in again.
#[utoipa::path(
    delete, path = "/management/rooms/{room_id}/bans/{user_id}", operation_id = "unbanFromRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), ("user_id" = schemas::UserId, Path)),
    responses(
        (status = 200, description = "Not banned, or not any more.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn unban(
    State(state): State<AppState>,
    segments: Segments,
) -> Result<Json<Changed>, Problem> {
    moderate(&state, &segments, |by, user_id| Command::Unban { by, user_id }).await
}

/// Silences a user for as long as the room lives.
#[utoipa::path(
    put, path = "/management/rooms/{room_id}/mutes/{user_id}", operation_id = "muteInRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), ("user_id" = schemas::UserId, Path)),
    responses(
        (status = 200, description = "Silenced.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn mute(
    State(state): State<AppState>,
    segments: Segments,
) -> Result<Json<Changed>, Problem> {
    moderate(&state, &segments, |by, user_id| Command::Mute { by, user_id }).await
}

/// Takes a member out of a room, who may come back.
#[utoipa::path(
    delete, path = "/management/rooms/{room_id}/members/{user_id}", operation_id = "kickFromRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), ("user_id" = schemas::UserId, Path)),
    responses(
        (status = 200, description = "Out, or not in.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn kick(
    State(state): State<AppState>,
    segments: Segments,
) -> Result<Json<Changed>, Problem> {
    moderate(&state, &segments, |by, user_id| Command::Kick { by, user_id }).await
}

/// Something to tell the members of a room.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SystemMessage {
    #[schema(min_length = 1, max_length = 16384)]
    content: String,
}

/// Tells all members of a room something.
#[utoipa::path(
    post, path = "/management/rooms/{room_id}/system-message", operation_id = "tellRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path)),
    request_body(content = SystemMessage, example = json!({"content": "back at noon"})),
    responses(
        (status = 200, description = "Told.", body = Changed),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn tell(
    State(state): State<AppState>,
    segments: Segments,
    body: JsonBody<SystemMessage>,
) -> Result<Json<Changed>, Problem> {
    let id = room_id(&segments)?;
    let message = body.required()?.content;
    if message.is_empty() || message.len() > 16_384 && message.chars().count() > 16_384 {
        return Err(Problem::bad_request("INVALID_MESSAGE", "a message is 1 to 16384 characters"));
    }
    // Nothing else keeps it from being told.
    if !command(&state, &id, Command::System { message }).await? {
        return Err(Problem::unavailable("STORE_BEHIND", "the store is behind; the members were not told"));
    }
    Ok(Json(Changed { changed: true }))
}

/// Closes a room for good. Its history stays.
#[utoipa::path(
    delete, path = "/management/rooms/{room_id}", operation_id = "closeRoom", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path)),
    responses(
        (status = 204, description = "Closed, and everybody is out."),
        (status = 404, description = "There is no such room, or it was closed (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn close(State(state): State<AppState>, segments: Segments) -> Result<StatusCode, Problem> {
    command(&state, &room_id(&segments)?, Command::Close).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which records of administrators.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Place {
    /// The page begins before this record: `next_cursor` of the page before.
    #[param(required = false, value_type = i64)]
    cursor: Option<i64>,
    #[param(required = false, value_type = schemas::Limit)]
    limit: Option<usize>,
}

/// What was done in a room by its administrators, and by operators, who have no name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Actions {
    #[schema(value_type = schemas::RoomId)]
    room_id: RoomId,
    /// Newest first.
    actions: Vec<Done>,
    /// Absent on the last page.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<i64>,
}

/// Something that an administrator did.
#[derive(Serialize, ToSchema)]
#[schema(as = AdminAction)]
pub(crate) struct Done {
    number: i64,
    /// Absent where it was an operator, or somebody who was erased.
    #[schema(required = false, value_type = schemas::UserId)]
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    /// What: `create`, `grant`, `revoke`, `ban`, `unban`, `kick`, `mute`, `custom_event`, `system` or `close`.
    action: &'static str,
    /// To whom.
    #[schema(required = false, value_type = schemas::UserId)]
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<UserId>,
    #[schema(value_type = schemas::UnixSeconds)]
    at: i64,
}

/// Lists what administrators did in a room, newest first.
#[utoipa::path(
    get, path = "/management/rooms/{room_id}/actions", operation_id = "listRoomActions", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), Place),
    responses(
        (status = 200, description = "A page.", body = Actions),
        (status = 404, description = "There is no such room (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn actions(
    State(state): State<AppState>,
    segments: Segments,
    Params(place): Params<Place>,
) -> Result<Json<Actions>, Problem> {
    let room_id = room_id(&segments)?;
    let rooms = state.hub().rooms();
    let page = rooms.actions(&room_id, place.cursor, place.limit.unwrap_or(100)).await?;
    if page.items.is_empty() && rooms.room(&room_id).await?.is_none() {
        return Err(Problem::unknown_room(&room_id));
    }
    let actions = page.items.into_iter().map(|done| Done {
        number: done.number,
        actor: done.actor,
        action: done.action.name(),
        target: done.target,
        at: done.at.as_secs(),
    });
    Ok(Json(Actions { room_id, actions: actions.collect(), next_cursor: page.next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
