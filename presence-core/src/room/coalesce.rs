//! When the members are told who came and who went.

use std::time::Duration;

use crate::room::protocol::ServerFrame;

/// Gathers joins and leaves, and tells of them once per interval.
///
/// ```text
/// changes   j  j      j  j                 l
/// windows   [---------)[---------)         [---------)
/// pushes              1          1                   1
/// ```
///
/// The first change opens a window. At its end there is one push; a change in that instant opens the next window.
#[derive(Debug)]
pub(crate) struct Coalesce {
    interval: Duration,
    window: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    due: Duration,
    /// What happened, if that was one thing.
    only: Option<ServerFrame>,
}

impl Coalesce {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, window: None }
    }

    /// Takes note of a change, and of the frame that tells it if it stays the only one.
    pub(crate) fn changed(&mut self, uptime: Duration, notice: ServerFrame) {
        match &mut self.window {
            Some(window) => window.only = None,
            None => {
                let due = uptime.saturating_add(self.interval);
                self.window = Some(Gathered { due, only: Some(notice) });
            }
        }
    }

    /// Tells how many there are, and not who came or went.
    pub(crate) fn hide(&mut self) {
        if let Some(window) = &mut self.window {
            window.only = None;
        }
    }

    /// When the members are to be told.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.window.as_ref().map(|window| window.due)
    }

    /// Ends the window if it is time: what precedes the statistics then.
    pub(crate) fn push(&mut self, uptime: Duration) -> Option<Option<ServerFrame>> {
        let window = self.window.take_if(|window| window.due <= uptime)?;
        Some(window.only)
    }
}
