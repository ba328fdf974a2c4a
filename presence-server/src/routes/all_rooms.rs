//! Answers that tell of all open rooms: an array of any length, made while it is read.

use std::mem;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use presence_core::{Error, Page, RoomId, StoredRoom};
use serde::Serialize;

use super::parts::{Array, Parts, parts};
use crate::{AppState, problem::Problem, ws::Hub};

/// How many rooms are looked up at once.
const ROOMS: usize = 100;
/// How long a part of an answer gets before it is sent, in bytes; its last room may be longer.
const PART: usize = 16 * 1024;

/// What an answer tells of a room.
pub(super) trait Tells: Send + Serialize + Sized + 'static {
    /// A room as it is now.
    fn tell(hub: &Hub, room: StoredRoom) -> impl Future<Output = Result<Self, Error>> + Send;
}

/// All rooms that are open, by id. An error after the first of them breaks the answer off.
pub(super) async fn all_rooms<T: Tells>(state: AppState) -> Result<Response, Problem> {
    let first = state.hub().rooms().list(None, ROOMS).await?;
    let (answer, body) = parts();
    tokio::spawn(hand_over::<T>(state, first, answer));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Sends room after room, until the end, an error, or a reader who is gone: all at once they would not fit into memory.
async fn hand_over<T: Tells>(state: AppState, mut page: Page<StoredRoom, RoomId>, answer: Parts) {
    let (mut part, mut rooms) = (Vec::new(), Array::default());
    loop {
        for room in page.items {
            let room = match T::tell(state.hub(), room).await {
                Ok(room) => room,
                Err(error) => return answer.fail(error).await,
            };
            rooms.push(&mut part, &room);
            if part.len() >= PART && answer.send(mem::take(&mut part)).await.is_err() {
                return;
            }
        }
        let Some(after) = page.next else { break };
        // What is ready waits for no store.
        if !part.is_empty() && answer.send(mem::take(&mut part)).await.is_err() {
            return;
        }
        page = match state.hub().rooms().list(Some(&after), ROOMS).await {
            Ok(page) => page,
            Err(error) => return answer.fail(error).await,
        };
    }
    rooms.end(&mut part);
    // Whoever asked may have gone.
    let _ = answer.send(part).await;
}
