//! How many statements a call is.

use presence_core::{
    ActivityStore, Appended, Ask, CheckpointQuery, CheckpointStore, EventId, Figures, IdentityFold, LiveSet,
    Member, Period, Seen, Window,
};
use presence_postgres_testing::Proxy;
use presence_sqlx::PostgresStore;

use crate::support::{ask, at, beat, commit, config, event, row, user, version};

#[tokio::test]
async fn a_batch_of_any_size_is_one_statement() {
    let (proxy, _database) = Proxy::fresh();
    // One connection, so that none is opened in between, which has a statement of its own.
    let store = PostgresStore::connect(config(proxy.url()).max_connections(1)).await.unwrap();
    for size in [1, 1_000] {
        let names: Vec<_> = (0..size).map(|number| format!("user {size} {number}")).collect();
        let before = proxy.statements();
        let commits = names.iter().map(|name| commit(name, None, row("Working", 1000))).collect();
        let outcomes = store.commit(commits).await.unwrap();
        assert!(outcomes.iter().all(|outcome| version(outcome).is_some()));
        assert_eq!(proxy.statements() - before, 1, "a commit of {size}");

        let before = proxy.statements();
        let event_ids = vec![EventId::new("at 1000").unwrap(), EventId::new("nothing").unwrap()];
        let asks = names.iter().map(|name| Ask { event_ids: event_ids.clone(), ..ask(name, 1000) }).collect();
        let contexts = store.load(asks).await.unwrap();
        assert!(contexts.iter().all(|context| context.rows.len() == 1 && context.requests.len() == 1));
        assert_eq!(proxy.statements() - before, 1, "a load of {size}");

        let before = proxy.statements();
        let beats = names.iter().map(|name| beat(name, 1010)).collect();
        assert_eq!(CheckpointStore::touch(&store, beats).await.unwrap(), []);
        assert_eq!(proxy.statements() - before, 1, "beats of {size}");

        let before = proxy.statements();
        let seen =
            |name: &String| Seen::Member { member: Member::User(user(name)), at: at(1010), floor: at(900) };
        LiveSet::touch(&store, names.iter().map(seen).collect()).await.unwrap();
        assert_eq!(proxy.statements() - before, 1, "heartbeats of {size}");

        let before = proxy.statements();
        let sent: Vec<_> = names.iter().map(|name| event(name, "phone-4711", Some(name), 1000)).collect();
        for expected in [Appended::Stored, Appended::Repeated] {
            assert_eq!(store.append(sent.clone()).await.unwrap(), vec![expected; names.len()]);
        }
        assert_eq!(proxy.statements() - before, 2, "events of {size}, and the same once more");
        let again = names.iter().map(|name| event(&format!("{name}!"), "phone-4711", Some(name), 1000));
        let twice: Vec<_> = again.clone().chain(again).collect();
        let outcomes = store.append(twice).await.unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Appended::Stored).count(), names.len());
        assert_eq!(proxy.statements() - before, 4, "each of {size} twice in one call");
    }
    let before = proxy.statements();
    let windows = [Window::new(at(0), at(1000)).unwrap(), Window::new(at(1000), at(2000)).unwrap()];
    store.facts(&user("user 1 0"), &windows).await.unwrap().unwrap();
    assert_eq!(store.export(&user("user 1 0"), None, 100).await.unwrap().len(), 8);
    assert_eq!(proxy.statements() - before, 2, "a question is one snapshot");
    let day = Period::day("1970-01-01".parse().unwrap()).unwrap();
    let before = proxy.statements();
    let marks = store.day_marks(day).await.unwrap();
    let (fold, after) = store.fold(day, None, 2000, IdentityFold::new()).await.unwrap();
    assert_eq!(after, None);
    let figures =
        Figures { mark: marks.days[0], active: fold.finish(), calculated_at: at(2000), events: Vec::new() };
    assert_eq!(figures.active.count, 1001);
    assert!(store.save(figures).await.unwrap());
    assert_eq!(proxy.statements() - before, 3, "a day is counted in three");
}
