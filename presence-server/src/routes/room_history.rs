//! `/management/sync`: what happened in rooms, for whoever keeps a copy.

use std::{mem, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use presence_core::{
    ChatMessage, ChatText, Error, Nickname, PageNumber, Pagination, Rejection, RoomHistory, RoomId,
    RoomSession, RoomStats, StoredRoom, Timestamp, UserId, Window,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    all_rooms::{Tells, all_rooms},
    long_page::{SLICE, long_page},
    rooms::{Described, Stats, room_id, stats},
};
use crate::{
    AppState,
    deliveries::Syncs,
    extract::{Params, Segments, seconds},
    openapi::schemas,
    problem::Problem,
    ws::Hub,
};

/// Messages, and sessions, of a page where nothing is said.
const MESSAGES: u64 = 1000;
const SESSIONS: u64 = 500;
/// The most messages of a page.
const MOST: u64 = 10_000;

/// Which page of a history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Numbered {
    /// From 1. Without it: 1.
    #[param(required = false, minimum = 1, value_type = u64)]
    page: Option<u64>,
    /// How many records a page has. Without it: 1,000 messages, or 500 sessions. At most 10,000, or 5,000.
    #[param(required = false, minimum = 1, value_type = u64)]
    limit: Option<u64>,
    /// The first second.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    from: Option<i64>,
    /// The last second.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    to: Option<i64>,
}

impl Numbered {
    /// The page, and how many records it has.
    fn place(&self, limit: u64) -> Result<(u64, u64), Problem> {
        let (page, limit) = (self.page.unwrap_or(1), self.limit.unwrap_or(limit));
        // What an answer could not say as a number of the document is none.
        if i64::try_from(page.max(limit)).is_err() {
            return Err(Rejection::InvalidPage.into());
        }
        Ok((page, limit))
    }

    fn window(&self) -> Result<Window, Problem> {
        let from = seconds(self.from)?.unwrap_or(Timestamp::MIN);
        // The last second belongs to it.
        let to = seconds(self.to)?.map_or(Timestamp::MAX, |to| to.saturating_add(Duration::from_secs(1)));
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return Err(Rejection::InvalidWindow.into());
        }
        Ok(Window::new(from, to)?)
    }
}

/// A message.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRecord)]
pub(crate) struct Said {
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    #[schema(value_type = String)]
    nickname: Nickname,
    #[schema(value_type = String)]
    content: ChatText,
    #[schema(value_type = schemas::UnixSeconds)]
    created_at: i64,
    /// Its place among all of the room.
    epoch: i64,
    seq: i64,
}

impl From<ChatMessage> for Said {
    fn from(message: ChatMessage) -> Self {
        let ChatMessage { position, user_id, nickname, content, created_at, .. } = message;
        let (epoch, seq) = (position.epoch.0, position.seq);
        Self { user_id, nickname, content, created_at: created_at.as_secs(), epoch, seq }
    }
}

/// A stay that is over.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionRecord)]
pub(crate) struct Stayed {
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    #[schema(value_type = String)]
    nickname: Nickname,
    #[schema(value_type = schemas::UnixSeconds)]
    join_time: i64,
    #[schema(value_type = schemas::UnixSeconds)]
    leave_time: i64,
    /// Whole seconds of it.
    #[schema(value_type = schemas::Count)]
    duration_seconds: u64,
}

impl From<RoomSession> for Stayed {
    fn from(session: RoomSession) -> Self {
        let duration = session.duration().unwrap_or_default();
        let RoomSession { user_id, nickname, join_time, leave_time, .. } = session;
        Self {
            user_id,
            nickname,
            join_time: join_time.as_secs(),
            leave_time: leave_time.unwrap_or(join_time).as_secs(),
            duration_seconds: duration.as_secs(),
        }
    }
}

/// A page of a history, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct History<T> {
    #[schema(value_type = schemas::RoomId)]
    room_id: RoomId,
    records: Vec<T>,
    pagination: Pages,
}

/// Where a page stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Pagination)]
pub(crate) struct Pages {
    #[schema(value_type = schemas::Count)]
    current_page: u64,
    #[schema(value_type = schemas::Count)]
    total_pages: u64,
    #[schema(value_type = schemas::Count)]
    total_records: u64,
    #[schema(value_type = schemas::Count)]
    page_size: u64,
    has_next: bool,
    has_prev: bool,
}

impl<T> History<T> {
    fn new<R: Into<T>>(room_id: RoomId, page: RoomHistory<R>) -> Self {
        let records = page.records.into_iter().map(Into::into).collect();
        Self { room_id, records, pagination: page.pagination.into() }
    }
}

impl From<Pagination> for Pages {
    fn from(pagination: Pagination) -> Self {
        let Pagination { current_page, total_pages, total_records, page_size, has_next, has_prev } =
            pagination;
        Self { current_page, total_pages, total_records, page_size, has_next, has_prev }
    }
}

/// Lists what was said in a room, open or closed. An answer of more than 1,000 messages that breaks off is not whole: ask
/// again.
#[utoipa::path(
    get, path = "/management/sync/chat-history/{room_id}", operation_id = "listRoomMessages", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), Numbered),
    responses(
        (status = 200, description = "A page.", body = History<Said>),
        (status = 404, description = "There is no such room (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn messages(
    State(state): State<AppState>,
    segments: Segments,
    Params(asked): Params<Numbered>,
) -> Result<Response, Problem> {
    let id = room_id(&segments)?;
    let ((page, limit), window) = (asked.place(MESSAGES)?, asked.window()?);
    let place = PageNumber::new(page, limit, MOST)?;
    if place.limit() <= SLICE {
        let found = state.hub().rooms().messages(&id, window, page, limit).await?;
        let found = found.ok_or_else(|| Problem::unknown_room(&id))?;
        return Ok(Json(History::<Said>::new(id, found)).into_response());
    }
    if state.hub().rooms().room(&id).await?.is_none() {
        return Err(Problem::unknown_room(&id));
    }
    Ok(long_page(state, id, window, place).await?)
}

/// Lists the stays in a room that are over, open or closed, by the time at which they began.
#[utoipa::path(
    get, path = "/management/sync/session-history/{room_id}", operation_id = "listRoomSessions", tag = "rooms",
    params(("room_id" = schemas::RoomId, Path), Numbered),
    responses(
        (status = 200, description = "A page.", body = History<Stayed>),
        (status = 404, description = "There is no such room (`ROOM_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn sessions(
    State(state): State<AppState>,
    segments: Segments,
    Params(asked): Params<Numbered>,
) -> Result<Json<History<Stayed>>, Problem> {
    let id = room_id(&segments)?;
    let (page, limit) = asked.place(SESSIONS)?;
    let found = state.hub().rooms().sessions(&id, asked.window()?, page, limit).await?;
    let found = found.ok_or_else(|| Problem::unknown_room(&id))?;
    Ok(Json(History::new(id, found)))
}

/// What there is to know of a room in short.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomInfo)]
pub(crate) struct Info {
    #[schema(value_type = schemas::RoomId)]
    room_id: RoomId,
    #[schema(value_type = schemas::RoomName)]
    room_name: String,
    #[schema(value_type = Vec<schemas::UserId>)]
    admin_user_ids: Vec<UserId>,
    /// Members now.
    #[schema(value_type = schemas::Count)]
    current_connections: u64,
    #[schema(value_type = schemas::UnixSeconds)]
    created_at: i64,
    /// When something was last said, or else when the room was made.
    #[schema(value_type = schemas::UnixSeconds)]
    last_activity: i64,
}

impl Info {
    pub(crate) fn new(hub: &Hub, room: StoredRoom) -> Self {
        let live = hub.overview(&room.id);
        let stored = (room.counters.stats.current_users, room.last_activity());
        let (current_connections, last_activity) =
            live.map_or(stored, |live| (live.stats.current_users, live.last_activity));
        Self {
            room_id: room.id,
            room_name: room.name.to_string(),
            admin_user_ids: room.admins,
            current_connections,
            created_at: room.created_at.as_secs(),
            last_activity: last_activity.as_secs(),
        }
    }
}

/// Lists the rooms that are open, in short. An answer that breaks off is not whole: ask again.
#[utoipa::path(
    get, path = "/management/sync/rooms", operation_id = "syncRooms", tag = "rooms",
    responses((status = 200, description = "The rooms.", body = Vec<Info>)),
)]
pub(crate) async fn infos(State(state): State<AppState>) -> Result<Response, Problem> {
    all_rooms::<Info>(state).await
}

impl Tells for Info {
    async fn tell(hub: &Hub, room: StoredRoom) -> Result<Self, Error> {
        Ok(Self::new(hub, room))
    }
}

/// A room with what happened in it last.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomData)]
pub(crate) struct Data {
    #[serde(flatten)]
    room: Described,
    /// Its figures once more, as some receivers look for them.
    stats: Stats,
    /// Who may not come in, in order.
    #[schema(value_type = Vec<schemas::UserId>)]
    banned_user_ids: Vec<UserId>,
    /// The last 1,000 messages, newest first.
    chat_history: Vec<Said>,
    /// The last 500 stays that are over, newest first.
    session_history: Vec<Stayed>,
}

/// Hands over all rooms that are open, each with the end of its histories. The histories have pages of their own. An
/// answer that breaks off is not whole: ask again.
#[utoipa::path(
    get, path = "/management/sync", operation_id = "sync", tag = "rooms",
    responses((status = 200, description = "The rooms.", body = Vec<Data>)),
)]
pub(crate) async fn data(State(state): State<AppState>) -> Result<Response, Problem> {
    all_rooms::<Data>(state).await
}

/// What was begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct Started {
    /// The callbacks: `periodic_sync`, `data_sync`.
    started: Vec<&'static str>,
}

/// Sends the state of all open rooms now, beside what is sent every SYNC_INTERVAL_SECONDS: their figures to
/// PERIODIC_SYNC_CALLBACK_URL, everything to DATA_CALLBACK_URL. A sync that is under way is followed by another one.
#[utoipa::path(
    post, path = "/management/sync", operation_id = "startSync", tag = "rooms",
    responses(
        (status = 202, description = "Begun, and under way when this is answered.", body = Started,
         example = json!({"started": ["periodic_sync", "data_sync"]})),
        (status = 409, description = "Neither URL is set (`SYNC_NOT_CONFIGURED`)."),
    ),
)]
pub(crate) async fn sync(State(state): State<AppState>) -> Result<(StatusCode, Json<Started>), Problem> {
    let started = state.syncs().map(Syncs::call).unwrap_or_default();
    if started.is_empty() {
        let detail = "neither PERIODIC_SYNC_CALLBACK_URL nor DATA_CALLBACK_URL is set";
        return Err(Problem::new(StatusCode::CONFLICT, "SYNC_NOT_CONFIGURED", detail));
    }
    Ok((StatusCode::ACCEPTED, Json(Started { started })))
}

impl Tells for Data {
    async fn tell(hub: &Hub, room: StoredRoom) -> Result<Self, Error> {
        Self::of(hub, room).await
    }
}

impl Data {
    /// A room as it is now.
    pub(crate) async fn of(hub: &Hub, mut room: StoredRoom) -> Result<Self, Error> {
        let messages = hub.rooms().messages(&room.id, Window::all(), 1, MESSAGES).await?;
        let sessions = hub.rooms().sessions(&room.id, Window::all(), 1, SESSIONS).await?;
        Ok(Self {
            chat_history: messages.into_iter().flat_map(|page| page.records).map(Said::from).collect(),
            session_history: sessions.into_iter().flat_map(|page| page.records).map(Stayed::from).collect(),
            banned_user_ids: mem::take(&mut room.banned),
            stats: stats(hub, &room).into(),
            room: Described::new(hub, room),
        })
    }

    /// A room as it was made.
    pub(crate) fn made(room: Described) -> Self {
        Self {
            room,
            stats: RoomStats::default().into(),
            banned_user_ids: Vec::new(),
            chat_history: Vec::new(),
            session_history: Vec::new(),
        }
    }

    /// As JSON of at most `longest` bytes, with as much of the ends of its histories as fits in, and of its bans.
    pub(crate) fn to_body(&self, longest: usize) -> serde_json::Result<Vec<u8>> {
        let whole = serde_json::to_vec(self)?;
        if whole.len() <= longest {
            return Ok(whole);
        }
        let (room, stats) = (&self.room, &self.stats);
        let bare = Shortened { room, stats, banned_user_ids: &[], chat_history: &[], session_history: &[] };
        let mut room = longest.saturating_sub(serde_json::to_vec(&bare)?.len());
        // Bans and stays first: they are short, and few.
        let banned_user_ids = fitting(&self.banned_user_ids, &mut room)?;
        let session_history = fitting(&self.session_history, &mut room)?;
        let chat_history = fitting(&self.chat_history, &mut room)?;
        serde_json::to_vec(&Shortened { banned_user_ids, chat_history, session_history, ..bare })
    }
}

/// [`Data`] with a part of its lists.
#[derive(Serialize)]
struct Shortened<'a> {
    #[serde(flatten)]
    room: &'a Described,
    stats: &'a Stats,
    banned_user_ids: &'a [UserId],
    chat_history: &'a [Said],
    session_history: &'a [Stayed],
}

/// The first of `rows` that fit into `room` bytes, of which they take what they need.
fn fitting<'a, T: Serialize>(rows: &'a [T], room: &mut usize) -> serde_json::Result<&'a [T]> {
    for (place, row) in rows.iter().enumerate() {
        // A comma beside each.
        let length = serde_json::to_vec(row)?.len().saturating_add(1);
        match room.checked_sub(length) {
            Some(less) => *room = less,
            None => return Ok(rows.get(..place).unwrap_or_default()),
        }
    }
    Ok(rows)
}
