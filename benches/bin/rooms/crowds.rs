//! Crowds: what each member costs, and what a crowd leaves behind.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use presence_benches::{
    process::{descriptors, resident},
    room::Member,
    server::{Program, Server, ask},
    table, user,
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{now, room, runtime};

const IDLE: u64 = 10_000;
const IDLE_GOAL: u64 = 6 * 1024;
const CHURN: u64 = 200_000;
/// How many come before those: their stays fill the store's cache of 64 MiB.
const FIRST: u64 = 200_000;
/// How often the memory is looked at.
const STEP: u64 = 40_000;
const CHURN_GOAL: i64 = 16 << 20;
const RETURNING: u64 = 5_000;
const RETURN_GOAL: Duration = Duration::from_secs(30);
/// How many connect at a time.
const AT_ONCE: u64 = 64;
/// Long enough for the room to tell who is there, and for the allocator to give back what is free.
const CALM: Duration = Duration::from_secs(4);

fn kib(bytes: u64) -> String {
    format!("{:.2} KiB", bytes as f64 / 1024.0)
}

fn memory(server: &Server) -> io::Result<u64> {
    resident(server.pid()).ok_or_else(|| io::Error::other("the memory of no process"))
}

fn target(room: &str, number: u64) -> String {
    format!("/ws/rooms/{room}?user_id={}&nickname=member-{number}", user(number))
}

/// Connects members `from` to `to`, and waits until each is welcomed.
async fn join(address: SocketAddr, room: &str, from: u64, to: u64) -> io::Result<Vec<Member>> {
    let next = Arc::new(AtomicU64::new(from));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, room) = (Arc::clone(&next), room.to_owned());
        tasks.spawn(async move {
            let mut members = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= to {
                    return Ok::<_, io::Error>(members);
                }
                let mut member = Member::connect(address, &target(&room, number), number).await?;
                member.hear("WelcomeInfo").await?;
                members.push(member);
            }
        });
    }
    let mut members = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        members.extend(joined.map_err(io::Error::other)??);
    }
    Ok(members)
}

/// Connects members who stay, hear everything and answer pings until they are dropped with the set; waits until each is
/// welcomed.
async fn stay(address: SocketAddr, room: &str, count: u64) -> io::Result<JoinSet<io::Result<()>>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE as usize));
    let mut staying = JoinSet::new();
    for number in 0..count {
        let turn = Arc::clone(&turns).acquire_owned().await.map_err(io::Error::other)?;
        let target = target(room, number);
        staying.spawn(async move {
            let mut member = Member::connect(address, &target, number).await?;
            member.hear("WelcomeInfo").await?;
            drop(turn);
            member.until(|_| None).await
        });
    }
    let all = turns.acquire_many(AT_ONCE as u32).await.map_err(io::Error::other)?;
    drop(all);
    Ok(staying)
}

/// What 10,000 members cost who say nothing.
pub(crate) fn idle() -> io::Result<()> {
    for (program, store) in [(Program::Memory, "in memory"), (Program::Sqlite, "SQLite")] {
        let server = Server::start(program, "0")?;
        let id = room(server.address, "nobody")?;
        let (before, after) = runtime()?.block_on(async {
            let before = memory(&server)?;
            let mut staying = stay(server.address, &id, IDLE).await?;
            sleep(CALM).await;
            let after = memory(&server)?;
            if let Some(gone) = staying.try_join_next() {
                return Err(io::Error::other(format!("a member is gone: {gone:?}")));
            }
            Ok::<_, io::Error>((before, after))
        })?;
        let each = after.saturating_sub(before) / IDLE;
        let ratio = format!("{:.2}", each as f64 / IDLE_GOAL as f64);
        let name = format!("memory of a member, of {IDLE} who are idle: {store}");
        table::row(&name, &kib(each), &kib(IDLE_GOAL), &ratio, "<= 1");
    }
    Ok(())
}

/// What 200,000 leave behind who come and go.
pub(crate) fn churn() -> io::Result<()> {
    let server = Server::start(Program::Sqlite, "0")?;
    let id = room(server.address, "nobody")?;
    let look = || Ok::<_, io::Error>((memory(&server)?, descriptors(server.pid()).unwrap_or(0)));
    let (mut first, mut done) = (None, 0);
    let begun = now();
    while done < FIRST + CHURN {
        let until = done + STEP;
        runtime()?.block_on(async {
            let next = Arc::new(AtomicU64::new(done));
            let mut tasks = JoinSet::new();
            for _ in 0..AT_ONCE {
                let (next, id, address) = (Arc::clone(&next), id.clone(), server.address);
                tasks.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Relaxed);
                        if number >= until {
                            return Ok::<_, io::Error>(());
                        }
                        // The same thousand users, again and again.
                        let mut member =
                            Member::connect(address, &target(&id, number % 1000), number).await?;
                        member.hear("WelcomeInfo").await?;
                    }
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.map_err(io::Error::other)??;
            }
            sleep(CALM).await;
            Ok::<_, io::Error>(())
        })?;
        done = until;
        let (bytes, open) = look()?;
        eprintln!("{done} came and went: {} MiB, {open} descriptors", bytes >> 20);
        if done == FIRST {
            first = Some((bytes, open));
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let ((before, opened), (after, open)) = (first.unwrap_or_default(), look()?);
    let growth = after as i64 - before as i64;
    let name = format!("memory more after {CHURN} came and went, and {FIRST} before them");
    let mib = |bytes: i64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    table::row(&name, &mib(growth), &mib(CHURN_GOAL), "", "no more");
    table::row("  descriptors then", &open.to_string(), &opened.to_string(), "", "the same");
    table::row("  connections a second", &format!("{:.0}", done as f64 / took), "", "", "");
    Ok(())
}

/// How long 5,000 take to come back after the server was killed, and what they miss.
pub(crate) fn come_back() -> io::Result<()> {
    const SAID: u64 = 200;
    let mut server = Server::start(Program::Sqlite, "0")?;
    let id = room(server.address, "speaker")?;
    let runtime = runtime()?;
    let mut members = runtime.block_on(async {
        let members = join(server.address, &id, 0, RETURNING).await?;
        let target = format!("/ws/rooms/{id}?user_id=speaker&nickname=speaker");
        let mut speaker = Member::connect(server.address, &target, 0).await?;
        for number in 1..=SAID {
            let text = format!(r#"{{"type":"SendMessage","payload":{{"content":"said-{number}-"}}}}"#);
            speaker.say(&text).await?;
            speaker.hear(&format!("said-{number}-")).await?;
        }
        Ok::<_, io::Error>(members)
    })?;
    // Half of what was said is all that anybody has read.
    let place = runtime.block_on(async {
        let mut place = (0, 0);
        for member in &mut members {
            let text = member.hear(&format!("said-{}-", SAID / 2)).await?;
            let frame: serde_json::Value = serde_json::from_str(&text)?;
            let number = |name: &str| frame["payload"][name].as_i64().unwrap_or(0);
            place = (number("epoch"), number("seq"));
        }
        Ok::<_, io::Error>(place)
    })?;
    runtime.block_on(async { sleep(Duration::from_secs(1)).await });
    let begun = now();
    server.kill_and_start()?;
    let started = begun.elapsed();
    drop(members);
    let (recovered, heard) = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..RETURNING {
            let target = format!("{}&epoch={}&seq={}", target(&id, number), place.0, place.1);
            let address = server.address;
            tasks.spawn(async move {
                let mut member = loop {
                    match Member::connect(address, &target, number).await {
                        Ok(member) => break member,
                        // The kernel's queue is full, or the room is not open yet.
                        Err(_) => sleep(Duration::from_millis(200)).await,
                    }
                };
                let welcome = member.hear("WelcomeInfo").await?;
                let is_recovered = welcome.contains(r#""recovered":true"#);
                let mut heard = 0;
                while is_recovered && heard < SAID / 2 {
                    let part = format!("said-{}-", SAID / 2 + heard + 1);
                    member.hear(&part).await?;
                    heard += 1;
                }
                Ok::<_, io::Error>((member, is_recovered, heard))
            });
        }
        let (mut recovered, mut heard, mut members) = (0, 0, Vec::new());
        while let Some(back) = tasks.join_next().await {
            let (member, is_recovered, replayed) = back.map_err(io::Error::other)??;
            recovered += u64::from(is_recovered);
            heard += replayed;
            members.push(member);
        }
        Ok::<_, io::Error>((recovered, heard))
    })?;
    let took = begun.elapsed();
    let name = format!("{RETURNING} members are back after a kill");
    let ratio = format!("{:.2}", took.as_secs_f64() / RETURN_GOAL.as_secs_f64());
    table::row(&name, &format!("{:.2} s", took.as_secs_f64()), &format!("{RETURN_GOAL:?}"), &ratio, "<= 1");
    table::row("  of that until the server listens", &format!("{:.2} s", started.as_secs_f64()), "", "", "");
    table::row("  and miss nothing", &recovered.to_string(), &RETURNING.to_string(), "", "all");
    let (heard, said) = (heard.to_string(), (RETURNING * SAID / 2).to_string());
    table::row("  messages that they had not read", &heard, &said, "", "all");
    let kept = ask(server.address, &format!("GET /management/sync/chat-history/{id}?limit=1"), "")?;
    let kept: serde_json::Value = serde_json::from_str(&kept)?;
    let total = kept["pagination"]["total_records"].to_string();
    table::row("  messages that the store has", &total, &SAID.to_string(), "", "all");
    Ok(())
}
