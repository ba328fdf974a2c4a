//! A page of messages that is too long to be made at once.

use std::{mem, time::Duration};

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use presence_core::{ChatMessage, Error, PageNumber, Part, RoomId, StoreError, Window};

use super::{
    parts::{Array, Parts, parts},
    room_history::{Pages, Said},
};
use crate::AppState;

/// How many messages are looked up at once: as many as a page has where nothing is said.
pub(super) const SLICE: usize = 1000;

/// Where the next slice begins.
struct Place {
    window: Window,
    skip: u64,
    left: usize,
}

impl Place {
    fn limit(&self) -> usize {
        self.left.min(SLICE)
    }

    /// Goes on behind these. What is said meanwhile is newer than the window, so that nothing moves.
    fn pass(&mut self, records: &[ChatMessage]) {
        self.left = self.left.saturating_sub(records.len());
        let Some(last) = records.last().map(|last| last.created_at) else { return };
        let same = records.iter().rev().take_while(|message| message.created_at == last).count();
        let until = last.saturating_add(Duration::from_millis(1)).min(self.window.to());
        if same < records.len()
            && let Ok(window) = Window::new(self.window.from(), until)
        {
            (self.window, self.skip) = (window, same as u64);
        } else {
            self.skip = self.skip.saturating_add(records.len() as u64);
        }
    }
}

/// A page of a room that is known to be there. An error after its first slice breaks the answer off.
pub(super) async fn long_page(
    state: AppState,
    room: RoomId,
    window: Window,
    page: PageNumber,
) -> Result<Response, Error> {
    let mut place = Place { window, skip: page.skip(), left: page.limit() };
    let first = slice(&state, &room, &place).await?;
    place.pass(&first.records);
    let (answer, body) = parts();
    tokio::spawn(hand_over(state, room, first, page, place, answer));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn slice(state: &AppState, room: &RoomId, place: &Place) -> Result<Part<ChatMessage>, StoreError> {
    state.hub().rooms().part_of_messages(room, place.window, place.skip, place.limit()).await
}

async fn hand_over(
    state: AppState,
    room: RoomId,
    first: Part<ChatMessage>,
    page: PageNumber,
    mut place: Place,
    answer: Parts,
) {
    let Part { mut records, total } = first;
    // Text and numbers always serialise.
    let mut part = format!(r#"{{"room_id":{},"records":"#, serde_json::json!(room)).into_bytes();
    let mut said = Array::default();
    loop {
        for message in mem::take(&mut records) {
            said.push(&mut part, &Said::from(message));
        }
        if answer.send(mem::take(&mut part)).await.is_err() {
            return;
        }
        if place.left == 0 {
            break;
        }
        records = match slice(&state, &room, &place).await {
            Ok(slice) => slice.records,
            Err(error) => return answer.fail(error).await,
        };
        if records.is_empty() {
            break;
        }
        place.pass(&records);
    }
    said.end(&mut part);
    part.extend(br#","pagination":"#);
    part.extend(serde_json::to_vec(&Pages::from(page.of(total))).unwrap_or_default());
    part.push(b'}');
    // Whoever asked may have gone.
    let _ = answer.send(part).await;
}
