//! How values are read. The errors are the ends of sentences that begin with the name of the setting.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use axum::http::{Uri, uri::Scheme};
use chrono::NaiveDate;
use presence_core::{CountedEvents, Period, Zone};
use presence_sqlite::Durability;

/// A whole number in `range`.
fn whole(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let refused = || format!("must be a whole number from {} to {}", range.start(), range.end());
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(refused)
}

/// Seconds in `range`.
pub(super) fn seconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| whole(text, &range).map(Duration::from_secs)
}

/// Milliseconds in `range`.
pub(super) fn millis(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| whole(text, &range).map(Duration::from_millis)
}

/// Hours in `range`.
pub(super) fn hours(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| whole(text, &range).map(Duration::from_hours)
}

/// Days of 24 hours in `range`.
pub(super) fn days(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| whole(text, &range).map(|days| Duration::from_hours(24 * days))
}

/// A number of things in `range`.
pub(super) fn count(
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        let refused = || format!("must be a whole number from {} to {}", range.start(), range.end());
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(refused)
    }
}

/// 0 or 1, and nothing that only looks like one of them.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("must be 0 or 1".to_owned()),
    }
}

/// An address; a name is not looked up, because what it means can change after the check.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, as in 127.0.0.1:3000 or [::1]:3000".to_owned())
}

/// A name that tokens carry.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.len() <= 256 && text.trim() == text && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 256 bytes without control characters or outer white space".to_owned()),
    }
}

/// What names of topics begin with.
pub(super) fn topic_prefix(text: &str) -> Result<String, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=200).contains(&text.len()) && text.bytes().all(is_fit) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 200 letters, digits, '.', '_' and '-'".to_owned()),
    }
}

/// A zone of the bundled database.
pub(super) fn zone(text: &str) -> Result<Zone, String> {
    Zone::new(text).map_err(|_| "must be the IANA name of a time zone, as in Europe/Berlin".to_owned())
}

/// Which events make their people active.
pub(super) fn counted_events(text: &str) -> Result<CountedEvents, String> {
    CountedEvents::parse(text).map_err(|_| {
        "must be a letter and up to 63 more out of ASCII letters, digits and _, or * for every event"
            .to_owned()
    })
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "fsync" => Ok(Durability::Fsync),
        "process" => Ok(Durability::Process),
        _ => Err("must be fsync or process".to_owned()),
    }
}

pub(super) fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "process",
        // The safe one, also for those that may come.
        _ => "fsync",
    }
}

/// The name of a schema, as [`PostgresConfig::schema`](presence_sqlx::PostgresConfig::schema) takes it.
pub(super) fn schema(text: &str) -> Result<String, String> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let begins_well = !text.starts_with(|first: char| first.is_ascii_digit()) && !text.starts_with("pg_");
    match (1..=63).contains(&text.len()) && is_word && begins_well {
        true => Ok(text.to_owned()),
        false => {
            Err("must be 1 to 63 lower-case letters, digits or _, and begin with neither a digit nor pg_"
                .to_owned())
        }
    }
}

/// A day in the years 1 to 9999.
pub(super) fn day(text: &str) -> Result<NaiveDate, String> {
    let day = text.parse().ok().filter(|day: &NaiveDate| day.to_string() == text);
    let day = day.filter(|day| Period::day(*day).is_ok());
    day.ok_or_else(|| "must be a day of the calendar, written YYYY-MM-DD".to_owned())
}

/// A URL that can be asked without TLS, for which there is no client here.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    let is_http = |uri: Uri| uri.scheme() == Some(&Scheme::HTTP) && uri.host().is_some();
    match text.parse().is_ok_and(is_http) {
        true => Ok(text.to_owned()),
        false => Err("must be a URL that begins with http:// and a host".to_owned()),
    }
}
