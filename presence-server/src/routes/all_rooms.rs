//! Answers that tell of all open rooms: an array of any length, made while it is read.

use std::mem;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use presence_core::{Error, Page, RoomId, StoredRoom};
use serde::Serialize;

use super::parts::{Parts, parts};
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
    let (array, body) = parts();
    tokio::spawn(hand_over::<T>(state, first, array));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Sends room after room, until the end, an error, or a reader who is gone: all at once they would not fit into memory.
async fn hand_over<T: Tells>(state: AppState, mut page: Page<StoredRoom, RoomId>, array: Parts) {
    let (mut part, mut before) = (Vec::new(), b'[');
    loop {
        for room in page.items {
            let room = match T::tell(state.hub(), room).await {
                Ok(room) => room,
                Err(error) => return array.fail(error).await,
            };
            part.push(mem::replace(&mut before, b','));
            // Text and numbers always serialise.
            part.extend(serde_json::to_vec(&room).unwrap_or_default());
            if part.len() >= PART && array.send(mem::take(&mut part)).await.is_err() {
                return;
            }
        }
        let Some(after) = page.next else { break };
        // What is ready waits for no store.
        if !part.is_empty() && array.send(mem::take(&mut part)).await.is_err() {
            return;
        }
        page = match state.hub().rooms().list(Some(&after), ROOMS).await {
            Ok(page) => page,
            Err(error) => return array.fail(error).await,
        };
    }
    part.extend(if before == b'[' { b"[]".as_slice() } else { b"]" });
    // Whoever asked may have gone.
    let _ = array.send(part).await;
}
