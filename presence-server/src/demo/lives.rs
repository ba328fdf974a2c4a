//! What became of everybody in a trace, as a table and as a picture.

use std::{cmp::Reverse, fmt::Write, time::Duration};

use presence_core::{StateType, Status, Timestamp, Tracker, UserId, Window};

use super::Trace;

/// How many slices the picture of a trace has: what fits beside the figures on 80 columns.
const SLICES: u32 = 38;
/// How many lines the picture of all users is high.
const HEIGHT: u64 = 8;

/// What a store says about the users of a trace.
#[derive(Clone, Debug)]
pub struct Lives {
    lives: Vec<Life>,
    span: Window,
}

/// What a store says about one user of a trace.
#[derive(Clone, Debug)]
pub struct Life {
    status: Status,
    /// The share of each slice of the trace that the user was not Offline, in percent.
    online: Vec<u64>,
    times_gone: usize,
}

impl Lives {
    /// Asks `tracker` about everybody in `trace`. Users it does not know are left out.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn of(tracker: &Tracker, trace: &Trace) -> Result<Self, presence_core::Error> {
        let mut lives = Vec::new();
        for user in trace.users() {
            if let Some(status) = tracker.status(user, Window::all()).await? {
                let online = online(tracker, user, trace).await?;
                lives.push(Life { status, online, times_gone: times_gone(tracker, user).await? });
            }
        }
        Ok(Self { lives, span: trace.span() })
    }

    /// One user after the other, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter()
    }

    /// The user who was online longest.
    #[must_use]
    pub fn longest(&self) -> Option<&Life> {
        self.longest_first().into_iter().next()
    }

    fn longest_first(&self) -> Vec<&Life> {
        let mut order: Vec<_> = self.lives.iter().collect();
        order.sort_by_key(|life| (Reverse(life.time_in(&StateType::Online)), &life.status.user));
        order
    }

    /// A line for each of the `top` users who were online longest: how long, how often gone, what now, and a picture.
    #[must_use]
    pub fn table(&self, top: usize) -> String {
        let mut text = format!("user      online   offline    gone  now      {}\n", self.axis());
        for life in self.longest_first().into_iter().take(top) {
            let picture: String = life.online.iter().map(|share| shade(*share)).collect();
            let (user, state) = (life.status.user.as_str(), life.status.current_state.as_str());
            let online = hours(life.time_in(&StateType::Online));
            let offline = hours(life.time_in(&StateType::Offline));
            let gone = life.times_gone;
            line(
                &mut text,
                format_args!("{user:8} {online:>7}  {offline:>8}  {gone:>6}  {state:7}  {picture}"),
            );
        }
        let rest = self.lives.len().saturating_sub(top);
        if rest > 0 {
            line(&mut text, format_args!("and {rest} more"));
        }
        text
    }

    /// How many were online, slice by slice, and the totals.
    #[must_use]
    pub fn hours(&self) -> String {
        let online = |slice: usize| {
            let shares = self.lives.iter().filter_map(|life| life.online.get(slice));
            shares.sum::<u64>().div_euclid(100)
        };
        let counts: Vec<u64> = (0..SLICES as usize).map(online).collect();
        let peak = counts.iter().copied().max().unwrap_or(0).max(1);
        let mut text = "online\n".to_owned();
        for level in (1..=HEIGHT).rev() {
            let reaches = |count: &u64| count.saturating_mul(HEIGHT) >= level.saturating_mul(peak);
            let bars: String = counts.iter().map(|count| if reaches(count) { '█' } else { ' ' }).collect();
            let mark = peak.saturating_mul(level).div_euclid(HEIGHT);
            line(&mut text, format_args!("{mark:>4} |{}", bars.trim_end()));
        }
        line(&mut text, format_args!("     +{}\n      {}\n", "-".repeat(SLICES as usize), self.axis()));
        let total = |state| hours(self.lives.iter().map(|life| life.time_in(state)).sum());
        let (online, offline) = (total(&StateType::Online), total(&StateType::Offline));
        let gone: usize = self.lives.iter().map(|life| life.times_gone).sum();
        let users = self.lives.len();
        line(&mut text, format_args!("{users} users: online {online}, offline {offline}, {gone} times gone"));
        text
    }

    /// The beginning and the end, as far apart as the picture is wide.
    fn axis(&self) -> String {
        let width = SLICES.saturating_sub(10) as usize;
        format!("{}{:width$}{}", clock_time(self.span.from()), "", clock_time(self.span.to()))
    }
}

impl Life {
    /// The state now, and the durations of all time.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// How many rows of the history say Offline.
    #[must_use]
    pub const fn times_gone(&self) -> usize {
        self.times_gone
    }

    fn time_in(&self, state: &StateType) -> Duration {
        let part = self.status.durations.iter().find(|part| part.state == *state);
        part.map_or(Duration::ZERO, |part| part.duration)
    }
}

/// Text always takes another line.
pub(super) fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{arguments}");
}

async fn online(tracker: &Tracker, user: &UserId, trace: &Trace) -> Result<Vec<u64>, presence_core::Error> {
    let mut shares = Vec::new();
    for slice in trace.slices(SLICES) {
        let durations = tracker.status(user, slice).await?.map(|status| status.durations).unwrap_or_default();
        let live: Duration =
            durations.iter().filter(|part| part.state.is_live()).map(|part| part.duration).sum();
        let percent = live.as_millis().saturating_mul(100).checked_div(slice.length().as_millis());
        shares.push(percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or(0));
    }
    Ok(shares)
}

async fn times_gone(tracker: &Tracker, user: &UserId) -> Result<usize, presence_core::Error> {
    let (mut rows, mut after) = (0_usize, None);
    loop {
        let page = tracker.history(user, Window::all(), after, 1000).await?;
        let gone = page.items.iter().filter(|row| row.state == StateType::Offline).count();
        rows = rows.saturating_add(gone);
        after = page.next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}

fn shade(percent: u64) -> char {
    match percent {
        0 => '·',
        1..=33 => '░',
        34..=66 => '▒',
        67..=99 => '▓',
        _ => '█',
    }
}

fn clock_time(at: Timestamp) -> String {
    at.to_datetime().format("%H:%M").to_string()
}

fn hours(span: Duration) -> String {
    let minutes = span.as_secs().div_euclid(60);
    format!("{}h{:02}m", minutes.div_euclid(60), minutes.rem_euclid(60))
}
