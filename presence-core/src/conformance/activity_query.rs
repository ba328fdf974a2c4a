//! The promises of [`ActivityQuery`](crate::ActivityQuery).

use super::{
    Activities,
    activity_store::{append, day, event, figures, period},
    case::at,
};
use crate::{DayMark, Window};

/// See [`ActivityQuery::days`](crate::ActivityQuery::days).
pub async fn figures_come_back_as_they_were_saved(store: &dyn Activities) {
    assert_eq!(store.days(period("2025-01-01", "2025-12-31")).await.expect("a store that works"), []);
    for (on, count) in
        [("2025-03-03", 3), ("2025-02-28", 9), ("2025-03-01", 1), ("2025-03-04", u64::from(u32::MAX))]
    {
        let saved = store.save(figures(DayMark::new(day(on)), count)).await.expect("a store that works");
        assert!(saved);
    }
    let days = store.days(period("2025-03-01", "2025-03-04")).await.expect("a store that works");
    let read: Vec<_> = days.iter().map(|stored| stored.mark.day.to_string()).collect();
    assert_eq!(read, ["2025-03-01", "2025-03-03", "2025-03-04"]);
    for (stored, count) in days.iter().zip([1, 3, u64::from(u32::MAX)]) {
        let expected = figures(DayMark::new(stored.mark.day), count);
        assert_eq!((&stored.active, stored.calculated_at), (&expected.active, expected.calculated_at));
        assert_eq!((stored.mark.version, stored.mark.is_stale()), (1, false));
    }
    let second = figures(days[0].mark, 7);
    assert!(store.save(second.clone()).await.expect("a store that works"));
    let days = store.days(period("2025-03-01", "2025-03-01")).await.expect("a store that works");
    assert_eq!((days[0].mark.version, &days[0].active), (2, &second.active), "the old figures are replaced");
}

/// See [`ActivityQuery::events`](crate::ActivityQuery::events).
pub async fn events_page_in_order_of_time_without_gaps(store: &dyn Activities) {
    let stamps = [50, 20, 20, 40, 20, 10, 30];
    let sent =
        stamps.iter().enumerate().map(|(n, millis)| event(&format!("e{n}"), "phone-4711", "alice", *millis));
    append(store, sent.collect()).await;
    let window = Window::new(at(20), at(50)).expect("in order");
    for limit in 1..=7 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.events(window, after, limit).await.expect("a store that works");
            after = page.last().map(|event| (event.at, event.id));
            let is_last = page.len() < limit;
            read.extend(page.iter().map(|event| (event.at.as_millis(), event.event_id.to_string())));
            if is_last {
                break;
            }
        }
        let expected = [(20, "e1"), (20, "e2"), (20, "e4"), (30, "e6"), (40, "e3")];
        assert_eq!(read, expected.map(|(millis, id)| (millis, id.to_owned())), "in pages of {limit}");
    }
    let empty = Window::new(at(30), at(30)).expect("in order");
    assert_eq!(store.events(empty, None, 10).await.expect("a store that works"), []);
}
