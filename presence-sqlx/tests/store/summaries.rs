//! Days that are summed up, over lives that were told in any order.

use presence_core::conformance::summed_life::{Life, Step};

use crate::support::{Random, connect, fresh};

/// What may come next; `None` is a node that starts anew.
fn step(random: &mut Random) -> Option<Step> {
    let late = |random: &mut Random| {
        let most = [100, 90_000, 1_000_000][random.below(3) as usize];
        random.below(most) as u32
    };
    Some(match random.below(26) {
        0..=1 => Step::Wait(random.below(120) as u32),
        2..=4 => Step::Wait(random.below(90_000) as u32),
        5..=9 => Step::Report(random.below(100) as usize, late(random)),
        10..=12 => Step::Beat,
        13..=14 => Step::LateBeat(late(random)),
        15..=16 => Step::Flush,
        17..=18 => Step::Sweep,
        19..=22 => Step::Summarise(random.below(100) as usize),
        23 => Step::Timeout([0, 60, 3600][random.below(3) as usize]),
        24 => Step::Erase,
        _ => return None,
    })
}

#[tokio::test]
async fn days_say_what_the_status_says() {
    for seed in 1..=12 {
        let (store, database) = fresh().await;
        let mut random = Random(seed);
        let mut life = Life::on(store);
        for _ in 0..30 {
            let next = step(&mut random);
            println!("seed {seed}: {next:?}");
            match next {
                Some(step) => life.step(step).await,
                None => life = life.continued_on(connect(database.url()).await),
            }
            life.assert_days_equal_status().await;
        }
    }
}
