//! How many people there were, as figures and as a picture.

use std::{fmt::Write, time::Duration};

use futures_util::future::try_join_all;
use presence_core::{
    Activity, ClientEvent, CountedEvents, DailyActiveStats, Error, EventId, EventName, InstallId, Interval,
    MemberRef, MemoryLiveSet, OnlinePoint, Period, SeenRef, TimeWindow, Timestamp, Window,
};

use super::{Kind, Trace, lives::line};

/// How many events are told at once.
const BATCH: usize = 1_000;
/// How many days are counted at once.
const DAYS: usize = 8;
/// How wide the picture is where most were online.
const WIDTH: u64 = 40;
/// How many hours the picture has at most: the last ones.
const HOURS: usize = 48;

/// Tells `activity` who was there in `trace`, and how many were online minute by minute, each for `window` after the
/// last sign. Everybody has an install; to come or to say something is an event of the name that counts. Telling the
/// same trace again changes nothing.
///
/// # Errors
///
/// The store failed, or refused an event; what came before is written.
pub async fn fill(activity: &Activity, trace: &Trace, window: TimeWindow) -> Result<(), Error> {
    let name = match &activity.policy().counted {
        CountedEvents::Named(name) => name.clone(),
        CountedEvents::Every => EventName::new("app_session_start")?,
    };
    let mut events = Vec::new();
    for event in trace.events().iter().filter(|event| event.kind != Kind::Leave) {
        let number = trace.users().binary_search(&event.user).unwrap_or_else(|place| place);
        let install = InstallId::new(format!("install-{number:04}"))?;
        let told = ClientEvent::new(name.clone(), install).by(event.user.clone()).at(event.at);
        events.push(told.with_event_id(EventId::new(format!("line-{}", event.line))?));
    }
    for batch in events.chunks(BATCH) {
        for verdict in activity.ingest(batch.to_vec()).await? {
            verdict?;
        }
    }
    for counts in online(trace, window.length()).chunks(BATCH) {
        // Side by side, so that they are written together.
        try_join_all(counts.iter().map(|(at, count)| activity.snapshot_at(*at, *count, window))).await?;
    }
    while activity.refold(DAYS).await?.days > 0 {}
    Ok(())
}

/// How many were online at each full minute of `trace`.
fn online(trace: &Trace, window: Duration) -> Vec<(Timestamp, u64)> {
    let mut events: Vec<_> = trace.events().iter().collect();
    events.sort_by_key(|event| event.at);
    let (live, mut events) = (MemoryLiveSet::new(), events.into_iter().peekable());
    let minute = Interval::OneMinute.length();
    let first = Interval::OneMinute.start(trace.span().from()).saturating_add(minute);
    let minutes = std::iter::successors(Some(first), |at| Some(at.saturating_add(minute)));
    let counts = minutes.take_while(|at| *at <= trace.span().to()).map(|at| {
        while let Some(event) = events.next_if(|event| event.at <= at) {
            let member = MemberRef::User((&event.user).into());
            match event.kind {
                Kind::Leave => live.leave(member),
                _ => live.touch(SeenRef::Member { member, at: event.at, floor: Timestamp::MIN }),
            }
        }
        (at, live.count(at.saturating_sub(window)))
    });
    counts.collect()
}

/// What a store says about how many people there were in a trace.
#[derive(Clone, Debug)]
pub struct Crowd {
    days: Vec<DailyActiveStats>,
    in_all: u64,
    hours: Vec<OnlinePoint>,
    zone: String,
    span: Window,
}

impl Crowd {
    /// Asks `activity` about the days and hours of `trace`; at most about the last year.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn of(activity: &Activity, trace: &Trace) -> Result<Self, Error> {
        let (policy, span) = (activity.policy(), trace.span());
        let last = policy.day_of(span.to());
        let period = Period::new(policy.day_of(span.from()), last).or(Period::trailing(366, last))?;
        let (days, in_all) = (activity.stats(period).await?, activity.active_users(period).await?.count);
        let year = Duration::from_secs(365 * 86_400);
        let end = span.to().saturating_add(Duration::from_millis(1));
        let window = Window::new(span.from().max(span.to().saturating_sub(year)), end)?;
        let hours = activity.online_history(window, Interval::Hour).await?;
        Ok(Self { days, in_all, hours, zone: policy.zone.name().to_owned(), span })
    }

    /// From the first event of the trace to the last.
    #[must_use]
    pub(super) const fn span(&self) -> Window {
        self.span
    }

    /// How many people were active on each day, and in all.
    #[must_use]
    pub fn days(&self) -> String {
        let mut text = format!("active users, days of {}\n", self.zone);
        for DailyActiveStats { day, active, .. } in &self.days {
            line(&mut text, format_args!("{day}  {:>6}", active.count));
        }
        line(&mut text, format_args!("in all      {:>6}", self.in_all));
        text
    }

    /// How many were online, hour by hour: the mean, and the peak behind it.
    #[must_use]
    pub fn hours(&self) -> String {
        let hours = self.hours.get(self.hours.len().saturating_sub(HOURS)..).unwrap_or_default();
        let most = hours.iter().map(|hour| hour.peak).max().unwrap_or(0).max(1);
        let width =
            |count: u64| usize::try_from(count.saturating_mul(WIDTH).div_ceil(most)).unwrap_or(usize::MAX);
        let mut text = "online, by the hour   (mean, and peak)\n".to_owned();
        for OnlinePoint { at, count, peak } in hours {
            let begins = at.to_datetime().format("%m-%d %H:%M");
            let (mean, rest) = (width(*count), width(*peak).saturating_sub(width(*count)));
            let mut bar = String::new();
            let _ = write!(bar, "{}{}", "█".repeat(mean), "░".repeat(rest));
            line(&mut text, format_args!("{begins} {count:>5} {peak:>5}  {bar}"));
        }
        text
    }
}
