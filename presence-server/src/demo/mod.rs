//! A real trace, replayed so that it ends now, and a picture of it.

mod crowd;
mod lives;
mod talk;
mod trace;

use std::net::SocketAddr;

use presence_core::{Error, Heartbeat, TimeWindow, Window};

pub use self::{
    crowd::{Crowd, fill},
    lives::{Life, Lives},
    talk::Talk,
    trace::{Event, Kind, Trace, TraceError},
};
use crate::{AppState, jobs};

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Somebody of the trace is there already; nothing was written.
    #[error("the store knows {0} already: a demo wants a new one")]
    Known(presence_core::UserId),
    /// The store failed, or refused an event; what came before is written.
    #[error("the replay failed")]
    Failed(#[from] Error),
}

/// Tells the server what happened in `trace`, as its clients would have, concludes who has gone silent, and counts who
/// was active. `progress` is told after each event how many of how many are done.
///
/// # Errors
///
/// [`DemoError`] says why it ended.
pub async fn replay(
    state: &AppState,
    trace: &Trace,
    mut progress: impl FnMut(usize, usize),
) -> Result<(), DemoError> {
    let beats = state.beats();
    for user in trace.users() {
        if beats.status(user, Window::all()).await.map_err(Error::from)?.is_some() {
            return Err(DemoError::Known(user.clone()));
        }
    }
    for (done, event) in (1..).zip(trace.events()) {
        match event.kind {
            Kind::Message => drop(beats.beat(Heartbeat::of_user(event.user.clone()).at(event.at)).await?),
            Kind::Join | Kind::Leave => drop(beats.record(event.envelope()).await?),
        }
        progress(done, trace.events().len());
    }
    jobs::sweep(state).await.map_err(Error::from)?;
    let window = i64::try_from(state.tracker().policy().online_window.as_secs()).unwrap_or(i64::MAX);
    fill(state.activity(), trace, TimeWindow::from_secs(window).map_err(Error::from)?).await?;
    Ok(())
}

/// Where to look next, for a server that listens on `address`.
#[must_use]
pub fn links(address: SocketAddr, window: std::time::Duration, lives: &Lives, crowd: &Crowd) -> String {
    let base = format!("http://{address}");
    let mut text = String::new();
    let mut add = |what: &str, path: String| text.push_str(&format!("{what:28} {base}{path}\n"));
    add("how many are online", format!("/api/v1/presence/online-count?windowSeconds={}", window.as_secs()));
    add("who", format!("/api/v1/presence/online-users?windowSeconds={}", window.as_secs()));
    let (from, to) = (crowd.span().from(), crowd.span().to());
    add("hour by hour", format!("/api/v1/presence/online-history?startTime={from}&endTime={to}&interval=1h"));
    add("how many people came, by day", "/api/v1/analytics/dau".to_owned());
    add("in the last 30 days", "/api/v1/analytics/active-users?period=30d".to_owned());
    if let Some(life) = lives.longest() {
        let user = &life.status().user;
        add(&format!("what {user} is doing"), format!("/users/{user}/status"));
        add("and has done", format!("/users/{user}/checkpoints?limit=10"));
        add("day by day", format!("/users/{user}/summaries"));
        add("and all of it, rooms too", format!("/users/{user}/export"));
    }
    add("every route, to try out", "/docs/".to_owned());
    add("figures of the server", "/metrics".to_owned());
    text
}
