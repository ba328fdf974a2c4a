//! The tables of the requirements, and what else happens in a room.

use std::time::Duration;

use presence_core::{Command, ConnectionId, Epoch, Event, Priority, RoomPolicy, RoomRow, Timestamp};

use crate::world::{World, at, taken, user};

#[test]
fn j1_joins_within_a_second_are_one_push() {
    let w = World::new().tell("0 join a, 0.2 join b, 0.9 join c, 5");
    assert_eq!(w.pushes(), ["1 RoomStats 3 3"]);
}

#[test]
fn j2_a_join_at_the_moment_of_the_push_opens_a_new_window() {
    let w = World::new().tell("0 join a, 0.2 join b, 0.9 join c, 1.0 join d, 1.5 join e, 5");
    assert_eq!(w.pushes(), ["1 RoomStats 3 3", "2 RoomStats 5 5"]);
}

#[test]
fn j3_a_push_may_find_nobody() {
    let w = World::new().tell("0 join a, 0.5 leave a, 5");
    assert_eq!(w.pushes(), ["1 RoomStats 0 1"]);
    assert_eq!(w.connection(1), ["0 WelcomeInfo a 7.0"]);
}

#[test]
fn j4_two_hundred_and_fifty_joins_are_three_pushes() {
    let joins: Vec<String> = (0..250).map(|n| format!("{} join u{n}", f64::from(n) / 100.0)).collect();
    let w = World::new().tell(&joins.join(",")).tell("9");
    assert_eq!(w.pushes(), ["1 RoomStats 100 100", "2 RoomStats 200 200", "3 RoomStats 250 250"]);
    assert_eq!(w.heard("u0").len(), 4, "its welcome and three pushes");
}

#[test]
fn j5_a_quiet_join_is_told_by_name() {
    let w = World::new().tell("0 join a, 5");
    assert_eq!(w.heard("a"), ["0 WelcomeInfo a 7.0", "1 UserJoined a A", "1 RoomStats 1 1"]);
}

#[test]
fn a_quiet_leave_is_told_by_name() {
    let w = World::new().tell("0 join a, 0 join b, 3 leave b, 5");
    assert_eq!(w.heard("a"), ["0 WelcomeInfo a 7.0", "1 RoomStats 2 2", "4 UserLeft b B", "4 RoomStats 1 2"]);
}

#[test]
fn there_are_at_most_as_many_pushes_as_seconds_and_one() {
    // Changes at the worst moments: just when a window has ended.
    let mut w = World::new().tell("0 join u");
    for n in 0..40_u32 {
        w = w.tell(&format!("{} join u{n}", f64::from(n) * 0.501));
    }
    let w = w.tell("60");
    let times: Vec<f64> =
        w.pushes().iter().map(|push| push.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.len() > 10);
    for (place, from) in times.iter().enumerate() {
        for (more, to) in times[place..].iter().enumerate() {
            assert!(more as f64 <= to - from + 1e-9, "{} pushes from {from} to {to}", more + 1);
        }
    }
}

#[test]
fn r1_an_ordinary_member_speaks_once_in_three_seconds() {
    let w = World::new().tell(
        "0 join a, 10.0 say a 1, 11.0 say a 2, 12.999 say a 3, 13.0 say a 4, 15.9 say a 5, 16.0 say a 6",
    );
    assert_eq!(
        w.heard_of_chat("a"),
        [
            "10 Message 1 a: 1",
            "11 Error RATE_LIMITED 发送过于频繁，请2秒后再试",
            "12.999 Error RATE_LIMITED 发送过于频繁，请1秒后再试",
            "13 Message 2 a: 4",
            "15.9 Error RATE_LIMITED 发送过于频繁，请1秒后再试",
            "16 Message 3 a: 6",
        ]
    );
}

#[test]
fn r2_an_administrator_speaks_as_often_as_it_likes() {
    let says = ["1 say root x"; 10].join(",");
    let w = World::new().tell("0 join root").tell(&says);
    let said = w.heard_of_chat("root");
    assert_eq!((said.len(), said[10].as_str()), (11, "1 Message 10 root (admin): x"));
}

#[test]
fn r3_the_limit_survives_a_reconnect() {
    let w = World::new().tell("0 join a, 10 say a 1, 10.5 leave a, 11 join a, 11.5 say a 2, 13 say a 3");
    assert_eq!(
        w.heard_of_chat("a"),
        ["11.5 Error RATE_LIMITED 发送过于频繁，请2秒后再试", "13 Message 2 a: 3"]
    );
}

#[test]
fn r4_a_muted_member_starts_no_interval() {
    let w = World::new().tell("0 join root, 0 join a, 5 root mutes a, 10 say a 1, 11 say a 2");
    assert_eq!(w.heard_of_chat("a"), ["5 YouAreMuted", "5 UserMuted a", "10 YouAreMuted", "11 YouAreMuted"]);
    assert_eq!(w.heard_of_chat("root"), ["0 (admin)", "5 UserMuted a"], "others hear nothing of it");
}

#[test]
fn r5_the_limit_is_per_room() {
    let (one, other) =
        (World::new().tell("0 join a, 10 say a 1"), World::new().tell("0 join a, 10.1 say a 1"));
    assert_eq!(one.heard_of_chat("a"), ["10 Message 1 a: 1"]);
    assert_eq!(other.heard_of_chat("a"), ["10.1 Message 1 a: 1"]);
}

#[test]
fn an_interval_of_zero_limits_nobody() {
    let policy = RoomPolicy { message_interval: Duration::ZERO, ..RoomPolicy::default() };
    let w = World::with(taken(&[]), policy).tell("0 join a, 1 say a 1, 1 say a 2");
    assert_eq!(w.heard_of_chat("a"), ["1 Message 1 a: 1", "1 Message 2 a: 2"]);
}

#[test]
fn a_message_goes_to_everybody_in_one_frame_and_one_order() {
    let mut w = World::new().tell("0 join a, 0 join b, 0 join root");
    let mut effects = Vec::new();
    let now = presence_core::Moment { at: at(5000), uptime: Duration::from_secs(5) };
    let say = Command::Say { connection: ConnectionId(1), content: "hello \"you\"".to_owned() };
    assert!(w.room.handle(say, now, &mut effects));
    let last = effects.pop().unwrap();
    assert_eq!(effects.len(), 1, "the statistics that were due, told first");
    let presence_core::Effect::Broadcast(frame) = last else { panic!("{last:?}") };
    assert_eq!(
        frame.as_str(),
        r#"{"type":"Message","payload":{"from":"a","nickname":"A","content":"hello \"you\"","is_admin":false,"epoch":7,"seq":1,"created_at":1000005}}"#
    );
}

#[test]
fn what_is_no_message_is_refused_and_starts_no_interval() {
    let mut w = World::new().tell("0 join a");
    for content in [String::new(), "a\0b".to_owned(), "x".repeat(64 * 1024 + 1)] {
        assert!(!w.handle(Command::Say { connection: ConnectionId(1), content }));
    }
    let w = w.tell("0 say a fine");
    let heard = w.heard_of_chat("a");
    assert_eq!(heard.len(), 4);
    assert!(heard[..3].iter().all(|line| line.starts_with("0 Error INVALID_MESSAGE")), "{heard:?}");
    assert_eq!(heard[3], "0 Message 1 a: fine");
}

#[test]
fn only_administrators_moderate() {
    let w = World::new().tell(
        "0 join a, 0 join b, 0 join root, 5 a bans b, 5 a mutes b, 5 a kicks b, 5 a unbans b, 5 a sends gift, 5 say b here",
    );
    assert_eq!(w.heard_of_chat("b"), ["5 Message 1 b: here"]);
    assert_eq!(w.heard_of_chat("a"), ["5 Message 1 b: here"]);
    let w = w.tell("6 root sends lucky_money, 7 operator sends gift, 8 system hello");
    assert_eq!(
        w.heard_of_chat("b")[1..],
        [
            r#"6 CustomEvent lucky_money {"amount":100}"#,
            r#"7 CustomEvent gift {"amount":100}"#,
            "8 System hello"
        ]
    );
}

#[test]
fn an_administrator_who_is_not_there_moderates_nothing() {
    let w = World::new().tell("0 join root, 0 join a, 1 leave root, 2 root bans a, 3");
    assert_eq!(w.room.stats().current_users, 1);
}

#[test]
fn a_banned_user_is_taken_out_and_stays_out_until_the_ban_is_lifted() {
    let w = World::new().tell("0 join root, 0 join eve, 5 root bans eve, 6 join eve");
    assert_eq!(
        w.connection(2),
        ["0 WelcomeInfo eve 7.0", "1 RoomStats 2 2", "5 YouAreKicked", "5 closed 4403 banned"]
    );
    assert_eq!(w.connection(3), ["6 Error BANNED 你已被踢出该房间，无法再次加入", "6 closed 4403 banned"]);
    assert_eq!(w.room.stats().total_joins, 2, "a refusal is no join");
    let w = w.tell("7 operator unbans eve, 8 join eve");
    assert_eq!(w.connection(4), ["8 WelcomeInfo eve 7.0"]);
}

#[test]
fn a_user_who_is_not_there_can_be_banned_and_muted() {
    let w = World::new().tell("0 operator bans eve, 0 operator mutes carl, 1 join eve, 1 join carl");
    assert_eq!(w.heard("eve")[1], "1 closed 4403 banned");
    assert_eq!(w.heard("carl"), ["1 WelcomeInfo carl 7.0 muted"]);
}

#[test]
fn a_kicked_user_may_come_back() {
    let w = World::new().tell("0 join root, 0 join eve, 5 root kicks eve, 6 join eve, 9");
    assert_eq!(w.connection(2)[2..], ["5 YouAreKicked", "5 closed 4403 kicked"]);
    assert_eq!(w.connection(3), ["6 WelcomeInfo eve 7.0", "7 UserJoined eve EVE", "7 RoomStats 2 2"]);
}

#[test]
fn a_second_connection_takes_over() {
    let w = World::new().tell("0 join a, 0 join b, 5 join a, 6 leave a 1, 7 say a still, 9");
    assert_eq!(w.connection(1)[2..], ["5 YouAreKicked", "5 closed 4409 taken over"]);
    assert_eq!(
        w.connection(3),
        ["5 WelcomeInfo a 7.0", "7 Message 1 a: still"],
        "the old one's end changes nothing"
    );
    assert_eq!(
        w.connection(2),
        ["0 WelcomeInfo b 7.0", "1 RoomStats 2 2", "7 Message 1 a: still"],
        "nobody came or went"
    );
    let stats = w.room.stats();
    assert_eq!((stats.current_users, stats.peak_users, stats.total_joins), (2, 2, 3));
}

#[test]
fn a_new_set_of_administrators_counts_for_who_is_there() {
    let w = World::new().tell("0 join root, 0 join a, 0 join b, 1 admins a, 2 root bans b, 3 a mutes b, 4");
    assert_eq!(
        w.heard_of_chat("root"),
        ["0 (admin)", "1 (no admin)", "1 RightsChanged false", "3 UserMuted b"]
    );
    assert_eq!(w.heard_of_chat("a"), ["1 (admin)", "1 RightsChanged true", "3 UserMuted b"]);
    assert_eq!(w.room.stats().current_users, 3);
}

#[test]
fn a_closed_room_tells_its_members_and_takes_no_others() {
    let mut w = World::new().tell("0 join a, 0 join b, 5 close, 6 join c, 7 say a x, 8");
    assert_eq!(w.connection(1)[2..], ["5 System 房间已关闭", "5 closed 4404 room closed"]);
    assert_eq!(w.connection(3), ["6 Error ROOM_CLOSED 房间已关闭", "6 closed 4404 room closed"]);
    assert!(w.room.is_over());
    let batch = w.batch().unwrap();
    let ends = batch.rows.iter().filter_map(|row| match row {
        RoomRow::Left { number, leave_time, .. } => Some((*number, *leave_time)),
        _ => None,
    });
    let ends = ends.collect::<Vec<_>>();
    assert_eq!(ends, [(1, at(5000)), (2, at(5000))]);
    assert_eq!(batch.rows.last(), Some(&RoomRow::Closed { at: at(5000) }));
    let Some(Event::RoomClosed { stats, .. }) = batch.events.last() else { panic!("{:?}", batch.events) };
    assert_eq!((stats.current_users, stats.peak_users, stats.total_joins), (0, 2, 2));
    assert_eq!(w.batch(), None);
}

#[test]
fn every_action_is_recorded_with_who_and_whom() {
    let mut w = World::new().tell(
        "0 join root, 0 join a, 1 root bans a, 2 operator unbans a, 3 operator kicks nobody, 4 root mutes a, 5 root sends gift, \
         6 system hello, 7 admins root b, 7 admins b, 8 a bans root, 9 close",
    );
    let recorded: Vec<String> = w
        .batch()
        .unwrap()
        .rows
        .into_iter()
        .filter_map(|row| match row {
            RoomRow::Action(action) => {
                let name = |user: Option<presence_core::UserId>| {
                    user.map_or("-".to_owned(), |user| user.to_string())
                };
                let secs = action.at.since(at(0)).as_secs();
                Some(format!(
                    "{} {secs} {} {} {}",
                    action.number,
                    name(action.actor),
                    action.action.name(),
                    name(action.target)
                ))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        recorded,
        [
            "1 1 root ban a",
            "2 2 - unban a",
            "3 3 - kick nobody",
            "4 4 root mute a",
            "5 5 root custom_event -",
            "6 6 - system -",
            "7 7 - grant b",
            "8 7 - revoke root",
            "9 9 - close -",
        ]
    );
}

#[test]
fn joins_and_leaves_are_told_one_by_one_in_order() {
    let mut w = World::new().tell("0 join a, 0.5 join b, 1 join a, 3 leave b, 4 leave a");
    let told: Vec<String> = w
        .batch()
        .unwrap()
        .events
        .into_iter()
        .map(|event| match event {
            Event::UserJoined { user, session, at, .. } => {
                format!("{user} joined {session} {}", at.since(crate::world::at(0)).as_secs())
            }
            Event::UserLeft { user, session, duration_ms, .. } => {
                format!("{user} left {session} {duration_ms}")
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        ["a joined 1 0", "b joined 2 0", "a left 1 1000", "a joined 3 1", "b left 2 2500", "a left 3 3000"]
    );
}

#[test]
fn who_comes_back_is_given_what_it_missed_exactly_once() {
    let w = World::new().tell(
        "0 join root, 0 join a, 5 say root 1, 6 leave a, 7 say root 2, 8 say root 3, 9 join a after 7 1, 10 say root 4",
    );
    assert_eq!(
        w.heard("a"),
        [
            "9 WelcomeInfo a 7.3 recovered true",
            "9 again Message 2 root (admin): 2",
            "9 again Message 3 root (admin): 3",
            "10 UserJoined a A",
            "10 RoomStats 2 2",
            "10 Message 4 root (admin): 4",
        ]
    );
    let w = w.tell("11 leave a, 12 join a after 7 4");
    assert_eq!(w.heard("a"), ["12 WelcomeInfo a 7.4 recovered true"], "nothing was missed");
}

#[test]
fn who_missed_more_than_is_remembered_is_told_so() {
    let policy = RoomPolicy { history_messages: 3, ..RoomPolicy::default() };
    let w = World::with(taken(&["root"]), policy);
    let w = w.tell("0 join root, 1 say root 1, 1 say root 2, 1 say root 3, 1 say root 4, 1 say root 5, 2 join a after 7 1");
    assert_eq!(w.heard("a"), ["2 WelcomeInfo a 7.5 recovered false"]);
    let w = w.tell("3 join b after 7 2");
    assert_eq!(w.heard_of_chat("b").len(), 3);
    let w = w.tell("3 join c after 7 6, 3 join d after 8 1");
    assert_eq!(w.heard("c")[0], "3 WelcomeInfo c 7.5 recovered false", "a place that was never given out");
    assert_eq!(w.heard("d")[0], "3 WelcomeInfo d 7.5 recovered false", "nor this one");
}

#[test]
fn what_is_too_old_or_too_large_is_not_remembered() {
    let w = World::new()
        .tell("0 join root, 1 say root 1, 90000 say root 2, 90001 join a after 7 0, 90001 join b after 7 1");
    assert_eq!(w.heard("a")[0], "90001 WelcomeInfo a 7.2 recovered false", "a day has passed");
    assert_eq!(w.heard_of_chat("b"), ["90001 again Message 2 root (admin): 2"]);
    let policy = RoomPolicy { history_bytes: 300, ..RoomPolicy::default() };
    let w = World::with(taken(&["root"]), policy);
    let w = w.tell("0 join root, 1 say root 1, 1 say root 2, 1 say root 3, 1 say root 4, 2 join a after 7 1, 2 join b after 7 2");
    assert_eq!(
        w.heard("a")[0],
        "2 WelcomeInfo a 7.4 recovered false",
        "three frames are more than 300 bytes"
    );
    assert_eq!(w.heard_of_chat("b").len(), 2);
}

#[test]
fn after_a_crash_places_go_on_in_a_later_epoch() {
    // 1 and 2 were written, 3 was seen by `a` only: the process died with it.
    let mut w = World::new().tell("0 join root, 1 say root 1, 1 say root 2");
    let rows = w.batch().unwrap().rows;
    let messages = rows.into_iter().filter_map(|row| match row {
        RoomRow::Message(message) => Some(message),
        _ => None,
    });
    let mut again = taken(&["root"]);
    again.room.lease.epoch = Epoch(9);
    again.room.counters.last_seq = 2;
    again.messages = messages.collect();
    let w = World::with(again, RoomPolicy::default())
        .tell("0 join root, 10 say root other, 11 join a after 7 3, 12 join b after 7 1");
    assert_eq!(
        w.heard("a")[..2],
        ["11 WelcomeInfo a 9.3 recovered true", "11 again Message 3 root (admin): other"]
    );
    assert_eq!(
        w.heard_of_chat("b"),
        ["12 again Message 2 root (admin): 2", "12 again Message 3 root (admin): other"]
    );
}

#[test]
fn a_room_that_is_behind_takes_neither_messages_nor_members() {
    let policy = RoomPolicy { backlog: 3, ..RoomPolicy::default() };
    let mut w = World::with(taken(&["root"]), policy)
        .tell("0 join root, 1 say root 1, 1 say root 2, 1 say root 3, 1 join a");
    assert_eq!(w.heard_of_chat("root").last().unwrap(), "1 Error STORE_BEHIND 服务器繁忙，请稍后再试");
    assert_eq!(w.heard("a"), ["1 Error STORE_BEHIND 服务器繁忙，请稍后再试", "1 closed 1013 store behind"]);
    assert_eq!(w.room.backlog(), 3);
    assert_eq!(w.batch().unwrap().counters.last_seq, 2);
    let w = w.tell("2 say root 3, 2 join a");
    assert_eq!(w.heard_of_chat("root").last().unwrap(), "2 Message 3 root (admin): 3");
    assert_eq!(w.heard("a")[0], "2 WelcomeInfo a 7.3");
}

#[test]
fn a_room_is_behind_by_what_was_said_too() {
    let policy = RoomPolicy { backlog_bytes: 10, ..RoomPolicy::default() };
    let mut w =
        World::with(taken(&["root"]), policy).tell("0 join root, 1 say root 0123456789, 1 say root x");
    assert_eq!(w.heard_of_chat("root").last().unwrap(), "1 Error STORE_BEHIND 服务器繁忙，请稍后再试");
    assert!(w.batch().is_some());
    let w = w.tell("2 say root x");
    assert_eq!(w.heard_of_chat("root").last().unwrap(), "2 Message 2 root (admin): x");
}

#[test]
fn a_room_that_is_behind_still_obeys_but_not_for_ever() {
    let policy = RoomPolicy { backlog: 3, ..RoomPolicy::default() };
    // The join, and two rows of each order: its record, and who is banned or silent from here on.
    let mut w = World::with(taken(&["root"]), policy)
        .tell("0 join root, 1 root mutes a, 2 root bans b, 2 system hear, 3 root mutes c");
    assert_eq!(w.room.backlog(), 7);
    assert!(w.broadcasts.iter().all(|(_, told)| !told.contains("hear")), "{:?}", w.broadcasts);
    w = w.tell("4 root bans d");
    assert_eq!(w.room.backlog(), 7, "twice as many rows as a room that is behind has");
    assert_eq!(w.heard("root").last().unwrap(), "4 Error STORE_BEHIND 服务器繁忙，请稍后再试");
    assert!(w.batch().is_some());
    assert_eq!(w.tell("5 root bans d").room.backlog(), 2);
}

#[test]
fn a_room_in_which_nothing_happens_says_that_its_members_are_there() {
    let mut w = World::new().tell("0 join a, 1");
    assert!(w.batch().is_some());
    w = w.tell("10.9");
    assert_eq!(w.batch(), None);
    w = w.tell("11");
    let batch = w.batch().unwrap();
    assert_eq!((batch.rows.len(), batch.at), (0, at(11_000)));
    w = w.tell("11.5 leave a");
    assert!(w.batch().is_some());
    w = w.tell("100");
    assert_eq!(w.batch(), None, "nobody is there");
}

#[test]
fn a_room_that_drains_ends_all_stays_and_one_that_is_lost_writes_nothing() {
    let mut w = World::new().tell("0 join a, 0 join b, 5 drain, 6 join c");
    assert_eq!(w.connection(1).last().unwrap(), "5 closed 1001 going away");
    assert_eq!(w.heard("c"), ["6 closed 1001 going away"]);
    assert_eq!(w.batch().unwrap().counters.stats.current_users, 0);
    let mut w = World::new().tell("0 join a, 0 join b, 5 lose");
    assert_eq!(w.connection(2).last().unwrap(), "5 closed 1012 moved");
    assert_eq!(w.batch(), None);
}

#[test]
fn an_erased_user_is_gone_from_memory() {
    let mut w = World::new()
        .tell("0 join root, 0 join eve, 1 say eve secret, 2 say root 2, 3 forget eve, 4 join a after 7 0, 5");
    assert_eq!(w.connection(2).last().unwrap(), "3 closed 4410 erased");
    assert_eq!(w.heard_of_chat("a"), ["4 again Message 2 root (admin): 2"]);
    assert!(!w.broadcasts.iter().any(|(_, what)| what.contains("UserLeft")), "{:?}", w.broadcasts);
    let events = w.batch().unwrap().events;
    assert!(!format!("{events:?}").contains("eve"), "{events:?}");
    // What it was allowed is forgotten too.
    let w = World::with(taken(&["root", "eve"]), RoomPolicy::default())
        .tell("0 operator bans eve, 0 operator mutes eve, 1 forget eve, 2 join eve");
    assert_eq!(w.heard("eve"), ["2 WelcomeInfo eve 7.0"]);
}

#[test]
fn a_clock_that_is_set_back_ends_no_stay_before_it_began() {
    let mut w = World::new().tell("5 join a");
    let mut effects = Vec::new();
    let now = presence_core::Moment { at: at(1000), uptime: Duration::from_secs(6) };
    assert!(w.room.handle(Command::Leave { connection: ConnectionId(1) }, now, &mut effects));
    let batch = w.room.batch(at(1000)).unwrap();
    assert_eq!(batch.rows.last(), Some(&RoomRow::Left { number: 1, end: 1, leave_time: at(5000) }));
}

#[test]
fn what_administrators_ask_for_goes_before_chat() {
    let connection = ConnectionId(1);
    let command =
        |text: &str| Command::from_frame(connection, presence_core::ClientFrame::parse(text).unwrap());
    for (text, priority) in [
        (r#"{"type":"SendMessage","payload":{"content":"x"}}"#, Priority::Low),
        (r#"{"type":"KickUser","payload":{"user_id":"x"}}"#, Priority::High),
        (r#"{"type":"MuteUser","payload":{"user_id":"x"}}"#, Priority::High),
        (r#"{"type":"CustomEvent","payload":{"event_type":"x","payload":null}}"#, Priority::High),
    ] {
        assert_eq!(command(text).unwrap().priority(), priority, "{text}");
    }
    assert_eq!(command(r#"{"type":"Ping"}"#), None);
    // What comes and goes keeps its order with what is said.
    assert_eq!(Command::Leave { connection }.priority(), Priority::Low);
    for command in [Command::Close, Command::Drain, Command::Lose, Command::System { message: String::new() }]
    {
        assert_eq!(command.priority(), Priority::High);
    }
}

#[test]
fn a_room_rests_when_nobody_has_been_there_for_a_minute() {
    let empty = |script: &str| World::new().tell(script).room.is_over();
    // Nobody ever came, one left, and operators asked something.
    for (script, then) in [
        ("60", "60.001"),
        ("0 join a, 5 leave a, 65", "65.001"),
        ("0 join a, 1 join b, 5 leave a, 9 leave b, 69", "69.001"),
        ("0 join a, 5 leave a, 60 operator mutes a, 120", "120.001"),
        ("0 join a, 5 leave a, 60 join b, 61 leave b, 121", "121.001"),
        ("0 join a, 9 operator kicks a, 69", "69.001"),
    ] {
        assert!(!empty(script), "{script}");
        assert!(empty(&format!("{script}, {then}")), "{script}, {then}");
    }
    assert!(!empty("0 join a, 1000"), "somebody is there");
}

#[test]
fn a_room_does_not_rest_while_a_member_who_left_would_have_to_wait() {
    let policy = RoomPolicy { message_interval: Duration::from_secs(300), ..RoomPolicy::default() };
    let w = World::with(taken(&[]), policy).tell("0 join a, 1 say a 1, 2 leave a, 299 join a, 300 say a 2");
    assert_eq!(w.heard_of_chat("a"), ["300 Error RATE_LIMITED 发送过于频繁，请1秒后再试"]);
}

#[test]
fn who_comes_when_a_room_rests_is_sent_to_the_next_opening() {
    let mut w = World::new().tell("0 join a, 1 say a hi, 5 leave a, 70");
    assert!(w.batch().is_some(), "what happened is still to be written");
    let w = w.tell("70 join b");
    assert_eq!(w.heard("b"), ["70 closed 1001 going away"]);
}

#[test]
fn a_member_is_told_what_it_may_do_from_here_on() {
    let w = World::new().tell("0 join root, 0 join a, 0 join b, 2 admins a, 3 admins a b, 4 admins root a");
    assert_eq!(w.heard_of_chat("a"), ["2 (admin)", "2 RightsChanged true"]);
    assert_eq!(
        w.heard_of_chat("b"),
        ["3 (admin)", "3 RightsChanged true", "4 (no admin)", "4 RightsChanged false"]
    );
    let root = ["0 (admin)", "2 (no admin)", "2 RightsChanged false", "4 (admin)", "4 RightsChanged true"];
    assert_eq!(w.heard_of_chat("root"), root);
}

#[test]
fn what_began_after_an_erasure_is_not_forgotten() {
    let w = World::new().tell(
        "0 join root, 1 join a, 10 say a old, 20 leave a, 21 join a, 22 forget a of 20.5, 25 say a new",
    );
    assert_eq!(w.heard_of_chat("a"), ["25 Message 2 a: new"], "it stays");
    let w = w.tell("26 join b after 7 0");
    let again: Vec<_> = w.heard_of_chat("b");
    assert_eq!(again, ["26 again Message 2 a: new"], "what it said before is gone");
    let mut w = w.tell("27 forget a of 26");
    assert_eq!(w.connection(3).last().map(String::as_str), Some("27 closed 4410 erased"));
    // Of whom was erased before the room was opened here, it knows only what began since.
    w.handle(Command::Forget { user_id: user("root"), erased_at: Timestamp::MIN });
    assert_eq!(
        w.tell("29 say root hi").heard_of_chat("root").last().map(String::as_str),
        Some("29 Message 3 root (admin): hi")
    );
}
