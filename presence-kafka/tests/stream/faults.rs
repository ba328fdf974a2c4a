//! What happens to brokers, and what does not happen to events.

use std::time::Duration;

use presence_core::Step;

use crate::{cluster::Cluster, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_brokers_are_away_events_wait() {
    let cluster = Cluster::start().await;
    let mut world = World::new(&cluster.config());
    world.happen(5_000, 700).await;
    assert_eq!(world.deliver().await, Step::Delivered { accepted: 4_000, refused: 0 });
    cluster.goes_away();
    let failed = world.deliver().await;
    assert!(matches!(failed, Step::Failed { accepted: 0, refused: 0, .. }), "{failed:?}");
    world.happen(1_000, 700).await;
    assert!(matches!(world.step().await, Step::Failed { accepted: 0, .. }), "they are still away");
    cluster.comes_back();
    world.drain().await;
    let books = world.books().await;
    assert_eq!((books.delivered, books.pending, books.dead), (6_000, 0, 0));
    world.assert_all_there(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_change_and_nothing_is_lost_or_out_of_order() {
    let cluster = Cluster::start().await;
    let mut world = World::new(&cluster.config().timeout(Duration::from_secs(20)));
    for round in 0..5 {
        world.happen(300, 11).await;
        world.deliver().await;
        world.happen(300, 11).await;
        // In the midst of a delivery.
        tokio::join!(world.deliver(), async {
            tokio::task::block_in_place(|| cluster.changes_leaders(round))
        });
        world.wait(Duration::from_secs(1));
    }
    world.drain().await;
    assert_eq!(world.books().await.delivered, 3000);
    world.assert_all_there(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_without_an_answer_comes_again_under_its_id() {
    let cluster = Cluster::start().await;
    let mut world = World::new(&cluster.config());
    world.happen(100, 10).await;
    world.drain().await;
    cluster.answers_late();
    world.happen(100, 10).await;
    let failed = world.deliver().await;
    assert!(matches!(failed, Step::Failed { accepted: 0, .. }), "{failed:?}");
    cluster.answers_in_time();
    world.drain().await;
    assert_eq!(world.books().await.delivered, 200);
    let repeated = world.assert_all_there(&cluster).await;
    println!("{repeated} events came more than once");
    assert!(repeated <= 10, "of each user one was under way, not {repeated}");
}
