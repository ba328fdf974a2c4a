//! The view that audits the totals, over lives that were told in any order.

use std::{sync::Arc, time::Duration};

use presence_core::{Envelope, ManualClock, StateType, Tracker};

use crate::support::{Random, at, fresh, user};

#[tokio::test]
async fn the_totals_of_random_lives_pass_the_audit() {
    const STATES: [&str; 5] = ["Online", "Offline", "Working", "Gaming", "Ünterwegs"];
    const DAMAGED: &str = "SELECT count(*) FROM presence.state_totals_audit WHERE stored_ms <> counted_ms";
    let (store, database) = fresh().await;
    let clock = Arc::new(ManualClock::new(at(1_700_000_000)));
    let tracker = Tracker::new(store, clock.clone());
    let mut random = Random(7);
    let mut now = at(1_700_000_000);
    for _ in 0..250 {
        // In steps of five seconds, so that many stamps are equal.
        now = now.saturating_add(Duration::from_secs(5 * random.below(8)));
        clock.set(now);
        let envelopes = (0..random.below(8)).map(|_| {
            let user = user(&format!("user {}", random.below(12)));
            let envelope = match random.below(3) {
                0 => Envelope::heartbeat(user),
                _ => Envelope::checkpoint(user, StateType::new(STATES[random.below(5) as usize]).unwrap()),
            };
            // Half of them late, some by an hour.
            let late = random.below(2) * random.below(2) * random.below(720) + random.below(18);
            envelope.at(now.saturating_sub(Duration::from_secs(5 * late)))
        });
        for verdict in tracker.record_many(envelopes.collect()).await.unwrap() {
            verdict.unwrap();
        }
        if random.below(5) == 0 {
            tracker.sweep(1_000).await.unwrap();
        }
    }
    let totals = database.psql("SELECT count(*), sum(counted_ms) > 0 FROM presence.state_totals_audit");
    assert_eq!(totals, format!("{}|t", 12 * STATES.len()), "every user was in every state");
    assert_eq!(database.psql(DAMAGED), "0");
    database.psql("UPDATE presence.state_totals SET duration_ms = duration_ms + 1 WHERE user_id = 'user 3'");
    assert_eq!(database.psql(DAMAGED), STATES.len().to_string(), "a millisecond too many is seen");
}
