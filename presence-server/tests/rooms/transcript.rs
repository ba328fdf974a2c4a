//! An afternoon in a room: two administrators, ten users, and every frame that each of them saw.

use std::fmt::Write;

use crate::{
    client::{Client, Heard},
    world::World,
};

#[tokio::test]
async fn an_afternoon() {
    let world = World::start(World::quick());
    let room = world.room(&["root", "second"]).await;
    let join = async |user: &str, count: usize| {
        let mut client = Client::join(world.address, &room, user).await;
        client.until(&format!(r#""current_users":{count},"#)).await;
        client
    };
    let (mut root, mut second) = (join("root", 1).await, join("second", 2).await);
    let mut users = Vec::new();
    for number in 1..=10 {
        users.push(join(&format!("user-{number}"), number + 2).await);
    }
    let [one, two, three, four, five, six, seven, ..] = &mut users[..] else { panic!("ten users") };

    one.say(r#"{"type":"SendMessage","payload":{"content":"hello, 大家好"}}"#).await;
    root.until("hello").await;
    root.say(r#"{"type":"CustomEvent","payload":{"event_type":"lucky_money","payload":{"amount":100,"desc":"good luck"}}}"#)
        .await;
    one.until("lucky_money").await;
    // What members may not do, and what nobody may say.
    for text in [
        r#"{"type":"KickUser","payload":{"user_id":"root"}}"#,
        r#"{"type":"CustomEvent","payload":{"event_type":"fake","payload":null}}"#,
        r#"{"type":"UserLeft","payload":{"user_id":"root","nickname":"root"}}"#,
        "nonsense",
        r#"{"type":"Ping","payload":{"timestamp":1}}"#,
    ] {
        two.say(text).await;
    }
    two.until("Pong").await;
    second.say(r#"{"type":"MuteUser","payload":{"user_id":"user-3"}}"#).await;
    three.until("YouAreMuted").await;
    three.say(r#"{"type":"SendMessage","payload":{"content":"can you hear me?"}}"#).await;
    three.until("YouAreMuted").await;
    root.say(r#"{"type":"KickUser","payload":{"user_id":"user-4"}}"#).await;
    four.rest().await;
    root.until(r#""type":"UserLeft","payload":{"user_id":"user-4""#).await;
    let mut again = Client::join(world.address, &room, "user-4").await;
    again.rest().await;
    let mut elsewhere = Client::join(world.address, &room, "user-5").await;
    elsewhere.until("WelcomeInfo").await;
    five.rest().await;
    elsewhere.say(r#"{"type":"SendMessage","payload":{"content":"from my phone"}}"#).await;
    root.until("from my phone").await;
    six.send(&crate::client::frame(0x88, &1000_u16.to_be_bytes())).await;
    six.rest().await;
    root.until(r#""type":"UserLeft","payload":{"user_id":"user-6""#).await;
    let admins = world
        .manage(&format!("PUT /management/rooms/{room}/admins"), r#"{"admin_user_ids":["user-7"]}"#)
        .await;
    assert_eq!(admins.0, 200);
    root.say(r#"{"type":"KickUser","payload":{"user_id":"user-1"}}"#).await;
    seven.say(r#"{"type":"MuteUser","payload":{"user_id":"user-8"}}"#).await;
    seven.until(r#""UserMuted""#).await;
    world
        .manage(
            &format!("POST /management/rooms/{room}/system-message"),
            r#"{"content":"closing in a minute"}"#,
        )
        .await;
    assert_eq!(world.manage(&format!("DELETE /management/rooms/{room}"), "").await.0, 204);

    let mut transcript = String::new();
    let named = [("root", root), ("second", second)].into_iter();
    let named = named.map(|(name, client)| (name.to_owned(), client));
    let users =
        users.into_iter().enumerate().map(|(number, client)| (format!("user-{}", number + 1), client));
    let late = [("user-4, again", again), ("user-5, on another connection", elsewhere)];
    let late = late.into_iter().map(|(name, client)| (name.to_owned(), client));
    for (name, mut client) in named.chain(users).chain(late) {
        client.rest().await;
        writeln!(transcript, "== {name}").expect("text");
        for heard in client.heard {
            match heard {
                Heard::Text(text) => writeln!(transcript, "{text}"),
                other => writeln!(transcript, "{other:?}"),
            }
            .expect("text");
        }
    }
    insta::assert_snapshot!(transcript);
}
