//! How long a receiver asks to be left alone.

use std::time::Duration;

use chrono::NaiveDateTime;
use presence_core::Timestamp;

/// The longest that a receiver is left alone at its own wish: it must not keep events back until they are too old.
const LONGEST: Duration = Duration::from_hours(1);
/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of a date that is still sent.
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// What the value of `Retry-After` asks for at `now`: whole seconds or a date, at most an hour. Zero where it asks for
/// nothing that can be read, or for what is over.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Duration {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let asked = if is_number {
        // More digits than fit are a long time.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let date = NaiveDateTime::parse_from_str(value, HTTP_DATE).ok();
        let date = date.and_then(|date| Timestamp::from_datetime(date.and_utc()).ok());
        date.map(|date| date.since(now)).unwrap_or_default()
    };
    asked.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_is_longer_than_an_hour() {
        // Sun, 06 Nov 1994 08:49:37 GMT, less half a second.
        let now = Timestamp::from_millis(784_111_776_500).unwrap();
        for (value, expected) in [
            ("0", Duration::ZERO),
            ("7", Duration::from_secs(7)),
            (" 120 ", Duration::from_secs(120)),
            ("3600", LONGEST),
            ("3601", LONGEST),
            ("99999999999999999999999", LONGEST),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Duration::from_millis(500)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Duration::from_millis(10_500)),
            ("Sun, 06 Nov 1994 09:49:47 GMT", LONGEST),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Duration::ZERO),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Duration::ZERO),
            ("", Duration::ZERO),
            ("-1", Duration::ZERO),
            ("+1", Duration::ZERO),
            ("1.5", Duration::ZERO),
            ("soon", Duration::ZERO),
            ("Mon, 06 Nov 1994 08:49:47 GMT", Duration::ZERO),
            ("Sun, 31 Feb 1994 08:49:47 GMT", Duration::ZERO),
            ("Sun, 06 Nov 1994 08:49:47 +0200", Duration::ZERO),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }
}
