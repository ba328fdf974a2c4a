//! A room, the connections to it, and a clock: what the stories are told with.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use presence_core::{
    Admins, Asker, Batch, CloseReason, Command, ConnectionId, Effect, Epoch, Frame, Lease, Moment, Nickname,
    Position, Room, RoomCounters, RoomId, RoomName, RoomPolicy, ServerFrame, StoredRoom, TakenRoom,
    Timestamp, UserId,
};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name of a story")
}

/// The instant so many milliseconds after the beginning of a story.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000).expect("an instant").saturating_add(Duration::from_millis(millis))
}

/// A room that was made at the beginning, with its administrators.
pub(crate) fn taken(admins: &[&str]) -> TakenRoom {
    TakenRoom {
        room: StoredRoom {
            id: RoomId::new("lobby").expect("an id"),
            name: RoomName::new("Lobby").expect("a name"),
            admins: admins.iter().map(|name| user(name)).collect(),
            banned: Vec::new(),
            created_at: at(0),
            closed_at: None,
            counters: RoomCounters::default(),
            alive_at: at(0),
            lease: Lease { node: "here".to_owned(), epoch: Epoch(7), until: at(15_000) },
        },
        muted: Vec::new(),
        messages: Vec::new(),
        unfinished: Vec::new(),
    }
}

/// What a connection got, with the time in milliseconds.
type Heard = Vec<(u64, String)>;

pub(crate) struct World {
    pub(crate) room: Room,
    pub(crate) millis: u64,
    connections: u64,
    latest: BTreeMap<String, ConnectionId>,
    members: BTreeSet<ConnectionId>,
    heard: BTreeMap<ConnectionId, Heard>,
    /// What was for everybody, whether or not there was anybody.
    pub(crate) broadcasts: Heard,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(taken(&["root"]), RoomPolicy::default())
    }

    pub(crate) fn with(taken: TakenRoom, policy: RoomPolicy) -> Self {
        Self {
            room: Room::new(taken, policy, at(0)),
            millis: 0,
            connections: 0,
            latest: BTreeMap::new(),
            members: BTreeSet::new(),
            heard: BTreeMap::new(),
            broadcasts: Vec::new(),
        }
    }

    /// Tells `time verb arguments` one after the other, times in seconds; a time alone lets it pass.
    pub(crate) fn tell(mut self, script: &str) -> Self {
        for step in script.split(',') {
            let mut words = step.split_whitespace();
            let time: f64 = words.next().expect("a time").parse().expect(step);
            self.pass_to((time * 1000.0).round() as u64);
            let words: Vec<&str> = words.collect();
            let by = |name: &str| match name {
                "operator" => Asker::Operator,
                name => Asker::Connection(self.latest[name]),
            };
            let command = match words[..] {
                [] => continue,
                ["join", name] => self.joins(name, None),
                ["join", name, "after", epoch, seq] => {
                    let (epoch, seq) = (Epoch(epoch.parse().expect(step)), seq.parse().expect(step));
                    self.joins(name, Some(Position { epoch, seq }))
                }
                ["leave", name] => Command::Leave { connection: self.latest[name] },
                ["leave", _, connection] => {
                    Command::Leave { connection: ConnectionId(connection.parse().expect(step)) }
                }
                ["say", name, ref text @ ..] => {
                    Command::Say { connection: self.latest[name], content: text.join(" ") }
                }
                [name, "bans", whom] => Command::Ban { by: by(name), user_id: user(whom) },
                [name, "unbans", whom] => Command::Unban { by: by(name), user_id: user(whom) },
                [name, "kicks", whom] => Command::Kick { by: by(name), user_id: user(whom) },
                [name, "mutes", whom] => Command::Mute { by: by(name), user_id: user(whom) },
                [name, "sends", event] => {
                    let payload = serde_json::json!({ "amount": 100 });
                    Command::CustomEvent { by: by(name), event_type: event.to_owned(), payload }
                }
                ["system", ref text @ ..] => Command::System { message: text.join(" ") },
                ["admins", ref names @ ..] => Command::SetAdmins {
                    admins: Admins::new(names.iter().map(|name| user(name))).expect("few"),
                },
                ["close"] => Command::Close,
                ["drain"] => Command::Drain,
                ["lose"] => Command::Lose,
                ["forget", name] => Command::Forget { user_id: user(name), erased_at: at(self.millis) },
                ["forget", name, "of", time] => {
                    let millis = time.parse::<f64>().expect(step) * 1000.0;
                    Command::Forget { user_id: user(name), erased_at: at(millis as u64) }
                }
                _ => panic!("{step}"),
            };
            self.handle(command);
        }
        self
    }

    fn joins(&mut self, name: &str, seen: Option<Position>) -> Command {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.latest.insert(name.to_owned(), connection);
        self.heard.insert(connection, Vec::new());
        let nickname = Nickname::new(&name.to_uppercase()).expect("a nickname");
        Command::Join { connection, user_id: user(name), nickname, seen }
    }

    fn now(&self) -> Moment {
        Moment { at: at(self.millis), uptime: Duration::from_millis(self.millis) }
    }

    /// Lets time pass; what falls due meanwhile is done when it is.
    fn pass_to(&mut self, millis: u64) {
        while let Some(due) =
            self.room.deadline().map(|due| due.as_millis() as u64).filter(|due| *due < millis)
        {
            self.millis = due;
            let mut effects = Vec::new();
            self.room.tick(self.now(), &mut effects);
            self.apply(effects);
        }
        self.millis = millis;
    }

    pub(crate) fn handle(&mut self, command: Command) -> bool {
        let mut effects = Vec::new();
        let done = self.room.handle(command, self.now(), &mut effects);
        self.apply(effects);
        done
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        let millis = self.millis;
        for effect in effects {
            match effect {
                Effect::Admit(connection) => assert!(self.members.insert(connection), "admitted once"),
                Effect::Rights(connection, is_admin) => {
                    assert!(self.members.contains(&connection));
                    self.hear(connection, if is_admin { "(admin)" } else { "(no admin)" }.to_owned());
                }
                Effect::Send(connection, frame) => self.hear(connection, short(&frame)),
                Effect::Replay(connection, frames) => {
                    frames.iter().for_each(|frame| self.hear(connection, format!("again {}", short(frame))));
                }
                Effect::Broadcast(frame) => {
                    self.broadcasts.push((millis, short(&frame)));
                    self.members.clone().iter().for_each(|member| self.hear(*member, short(&frame)));
                }
                Effect::Close(connection, reason) => {
                    self.members.remove(&connection);
                    self.closes(connection, reason);
                }
                Effect::CloseAll(reason) => {
                    std::mem::take(&mut self.members)
                        .into_iter()
                        .for_each(|member| self.closes(member, reason));
                }
                other => panic!("{other:?}"),
            }
        }
        let mut on_the_roster: Vec<_> = self.room.members().map(|member| member.connection).collect();
        on_the_roster.sort_unstable();
        let gone = |connection: &ConnectionId| !on_the_roster.contains(connection);
        // A connection that ends by itself is not told so.
        self.members.retain(|member| !gone(member));
        assert_eq!(
            on_the_roster,
            self.members.iter().copied().collect::<Vec<_>>(),
            "the roster and the sockets"
        );
    }

    fn closes(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.hear(connection, format!("closed {} {}", reason.code(), reason.as_str()));
    }

    fn hear(&mut self, connection: ConnectionId, what: String) {
        let millis = self.millis;
        self.heard.get_mut(&connection).expect("a connection").push((millis, what));
    }

    /// What the connection of this number got.
    pub(crate) fn connection(&self, number: u64) -> Vec<String> {
        lines(&self.heard[&ConnectionId(number)])
    }

    /// What the latest connection of a user got.
    pub(crate) fn heard(&self, name: &str) -> Vec<String> {
        lines(&self.heard[&self.latest[name]])
    }

    /// The same without what was for everybody who came and went.
    pub(crate) fn heard_of_chat(&self, name: &str) -> Vec<String> {
        let is_chat = |line: &String| {
            !["WelcomeInfo", "RoomStats", "UserJoined", "UserLeft"].iter().any(|kind| line.contains(kind))
        };
        self.heard(name).into_iter().filter(is_chat).collect()
    }

    /// All pushes of statistics, to whomever: time, current, peak.
    pub(crate) fn pushes(&self) -> Vec<String> {
        let stats = self.broadcasts.iter().filter(|(_, what)| what.starts_with("RoomStats"));
        lines(&stats.cloned().collect())
    }

    /// Cuts a batch off.
    pub(crate) fn batch(&mut self) -> Option<Batch> {
        self.room.batch(at(self.millis))
    }
}

fn lines(heard: &Heard) -> Vec<String> {
    let seconds = |millis: &u64| format!("{}", *millis as f64 / 1000.0);
    heard.iter().map(|(millis, what)| format!("{} {what}", seconds(millis))).collect()
}

/// A frame in a few words.
pub(crate) fn short(frame: &Frame) -> String {
    match ServerFrame::parse(frame.as_str()).expect("a frame of the protocol") {
        ServerFrame::WelcomeInfo { user_id, is_muted, position, recovered, .. } => {
            let muted = if is_muted { " muted" } else { "" };
            let recovered = recovered.map(|recovered| format!(" recovered {recovered}")).unwrap_or_default();
            format!("WelcomeInfo {user_id} {}.{}{muted}{recovered}", position.epoch.0, position.seq)
        }
        ServerFrame::Message { from, content, is_admin, position, .. } => {
            let admin = if is_admin { " (admin)" } else { "" };
            format!("Message {} {from}{admin}: {}", position.seq, content.as_str())
        }
        ServerFrame::UserJoined { user_id, nickname } => format!("UserJoined {user_id} {nickname}"),
        ServerFrame::UserLeft { user_id, nickname } => format!("UserLeft {user_id} {nickname}"),
        ServerFrame::RoomStats { current_users, peak_users } => {
            format!("RoomStats {current_users} {peak_users}")
        }
        ServerFrame::CustomEvent { event_type, payload } => format!("CustomEvent {event_type} {payload}"),
        ServerFrame::YouAreKicked => "YouAreKicked".to_owned(),
        ServerFrame::YouAreMuted => "YouAreMuted".to_owned(),
        ServerFrame::UserMuted { user_id } => format!("UserMuted {user_id}"),
        ServerFrame::RightsChanged { is_admin } => format!("RightsChanged {is_admin}"),
        ServerFrame::Error { message, code, .. } => format!("Error {code} {message}"),
        ServerFrame::System { message } => format!("System {message}"),
        ServerFrame::Pong { timestamp } => format!("Pong {timestamp:?}"),
        other => panic!("{other:?}"),
    }
}
