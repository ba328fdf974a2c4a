//! What happens to the servers: drawn from a seed, so that the same seed is the same story.

use std::{fmt, time::Duration};

use presence_core::Timestamp;

use crate::{
    odd::{CONTENTS, INSTALLS, NO_CONTENTS, NOBODY, STATES, USERS, ZONES},
    table::{self, Case, encoded},
};

/// One thing that happens.
pub(crate) enum Operation {
    /// A request of somebody who knows how to ask; ids stand in it by their rank, as `#7#`.
    Ask { kind: String, user: Option<String>, request: String },
    /// Bytes on a connection of their own.
    Raw(Case),
    /// Time passes.
    Pass(Duration),
    /// A step of a job.
    Step(Job),
}

#[derive(Clone, Copy)]
pub(crate) enum Job {
    Flush,
    Sweep,
    Evict,
    Summarise,
    Refold,
    CatchUp,
    Snapshot,
}

impl Operation {
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Ask { kind, .. } => kind.clone(),
            Self::Raw(_) => "raw".to_owned(),
            Self::Pass(_) => "time".to_owned(),
            Self::Step(Job::Flush) => "flush".to_owned(),
            Self::Step(Job::Sweep) => "sweep".to_owned(),
            Self::Step(Job::Evict) => "evict".to_owned(),
            Self::Step(Job::Summarise) => "summarise".to_owned(),
            Self::Step(Job::Refold) => "refold".to_owned(),
            Self::Step(Job::CatchUp) => "catch up".to_owned(),
            Self::Step(Job::Snapshot) => "snapshot".to_owned(),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { request, .. } => f.write_str(request),
            Self::Raw(case) => write!(f, "{}: {}", case.name, String::from_utf8_lossy(&case.bytes)),
            Self::Pass(span) => write!(f, "{span:?} pass"),
            Self::Step(_) => f.write_str(&self.kind()),
        }
    }
}

pub(crate) struct Life {
    random: Random,
    begin: i64,
    now_millis: i64,
    /// Odd requests that are still to come.
    raw: Vec<Case>,
    /// What was asked, to be asked again.
    asked: Vec<(String, Option<String>, String)>,
    /// Whose checkpoints were shown, by rank.
    owners: Vec<String>,
    /// Targets of next pages.
    pages: Vec<String>,
    past: Vec<String>,
    /// What follows from the last thing.
    due: Option<Operation>,
    /// What is asked at the end, of everybody.
    farewell: Vec<Operation>,
}

impl Life {
    pub(crate) fn begin(seed: u64, at: i64) -> Self {
        let mut raw = table::refused(at);
        raw.extend(table::taken::cases(at));
        let mut farewell: Vec<_> = USERS
            .iter()
            .flat_map(|user| {
                ["status", "checkpoints?limit=1000", "summaries", "export"].map(|what| (*user, what))
            })
            .map(|(user, what)| ask("GET", &format!("/users/{}/{what}", encoded(user)), Some(user), "", &[]))
            .collect();
        farewell.extend([Job::Summarise, Job::Sweep, Job::Flush].map(Operation::Step));
        Self {
            random: Random(seed),
            begin: at,
            now_millis: at * 1_000,
            raw,
            asked: Vec::new(),
            owners: Vec::new(),
            pages: Vec::new(),
            past: Vec::new(),
            due: None,
            farewell,
        }
    }

    /// Seconds since the epoch.
    pub(crate) const fn now(&self) -> i64 {
        self.now_millis / 1_000
    }

    pub(crate) const fn lasted(&self) -> Duration {
        Duration::from_secs(self.now().abs_diff(self.begin))
    }

    pub(crate) fn ids_seen(&self) -> usize {
        self.owners.len()
    }

    /// What happened lately to the user of an operation, and to everybody.
    pub(crate) fn recent(&self, operation: &Operation) -> Vec<&str> {
        let user = match operation {
            Operation::Ask { user: Some(user), .. } => encoded(user),
            _ => String::new(),
        };
        let of_user =
            |text: &&String| !text.starts_with("GET /") && (text.contains(&user) || !text.contains(" HTTP/"));
        let recent = self.past.iter().rev().filter(of_user).take(60);
        recent.map(String::as_str).collect()
    }

    /// The next thing that happens, until `count` things and the farewell are over.
    pub(crate) fn next(&mut self, count: usize) -> Option<Operation> {
        if let Some(due) = self.due.take() {
            return Some(due);
        }
        if self.past.len() >= count {
            return self.farewell.pop();
        }
        Some(match self.random.below(118) {
            0..22 => self.report(),
            22..27 => self.repetition(),
            27..39 => self.beat(),
            39..46 => self.presence_beat(),
            46..50 => self.batch(),
            50..56 => self.status(),
            56..61 => self.history(),
            61..64 => self.page(),
            64..68 => self.one(),
            68..73 => self.summaries(),
            73..75 => self.of_user("GET", "/export"),
            75 => self.of_user("DELETE", ""),
            76 => self.online_count(),
            77..79 => self.online_users(),
            79..86 => Operation::Pass(self.span()),
            86..90 => Operation::Step(Job::Flush),
            90..93 => Operation::Step(Job::Sweep),
            93 => Operation::Step(Job::Evict),
            94 => Operation::Step(Job::Summarise),
            95..99 => {
                let place = self.random.below(self.raw.len().max(1) as u64) as usize;
                if self.raw.is_empty() { self.health() } else { Operation::Raw(self.raw.swap_remove(place)) }
            }
            99 => self.health(),
            100..106 => self.events(),
            106..109 => self.active_users(),
            109..111 => self.online_history(),
            111..114 => Operation::Step(Job::Refold),
            114 => Operation::Step(Job::CatchUp),
            _ => {
                // On a shared store a count may be a second old.
                self.due = Some(Operation::Step(Job::Snapshot));
                Operation::Pass(Duration::from_secs(1))
            }
        })
    }

    /// Takes in what was answered.
    pub(crate) fn learn(&mut self, operation: Operation, answer: &str) {
        self.past.push(operation.to_string());
        match operation {
            Operation::Pass(span) => self.now_millis += span.as_millis() as i64,
            Operation::Ask { kind, user, request } => {
                if let Some(user) = &user {
                    // New ranks follow each other.
                    while answer.contains(&format!("#{}#", self.owners.len())) {
                        self.owners.push(user.clone());
                    }
                }
                if let Some((_, link)) = answer.split_once("link: <") {
                    self.pages.extend(link.split_once('>').map(|(target, _)| target.to_owned()));
                }
                if let Some((_, cursor)) = answer.split_once("\"nextCursor\":\"") {
                    let cursor = cursor.split('"').next().map(encoded).unwrap_or_default();
                    self.pages.push(format!("/api/v1/presence/online-users?limit=3&cursor={cursor}"));
                }
                if request.starts_with("POST") {
                    self.asked.push((kind, user, request));
                }
            }
            Operation::Raw(_) => {
                // These are shown to nobody else; whoever reads their rows takes the ranks.
                while answer.contains(&format!("#{}#", self.owners.len())) {
                    self.owners.push("nobody".to_owned());
                }
            }
            Operation::Step(_) => {}
        }
    }

    fn user(&mut self) -> &'static str {
        // A few are busy, so that much happens to them.
        let count = if self.random.below(3) == 0 { USERS.len() } else { 6 };
        self.random.one_of(&USERS[..count])
    }

    /// Whose path it is: nearly always somebody's.
    fn path(&mut self) -> (String, &'static str) {
        let user = if self.random.below(60) == 0 { self.random.one_of(&NOBODY) } else { self.user() };
        (format!("/users/{}", encoded(user)), user)
    }

    fn of_user(&mut self, method: &str, rest: &str) -> Operation {
        let (path, user) = self.path();
        ask(method, &format!("{path}{rest}"), Some(user), "", &[])
    }

    fn span(&mut self) -> Duration {
        let millis = match self.random.below(100) {
            0..50 => self.random.below(3_000),
            50..75 => self.random.below(60_000),
            75..82 => 60_000 + self.random.below(2),
            82..92 => self.random.below(400_000),
            92..98 => self.random.below(12 * 3_600_000),
            _ => self.random.below(5 * 86_400_000),
        };
        Duration::from_millis(millis)
    }

    /// A stamp, late in most cases, as JSON; `None` for now.
    fn stamp(&mut self) -> Option<String> {
        let now = self.now();
        Some(match self.random.below(100) {
            0..35 => return None,
            35..60 => (now - self.random.below(70) as i64).to_string(),
            60..75 => (now - self.random.below(400) as i64).to_string(),
            75..85 => (now - self.random.below(86_400) as i64).to_string(),
            85..90 => (now - self.random.below(20 * 86_400) as i64).to_string(),
            90..93 => (now + self.random.below(300) as i64).to_string(),
            93 => (now + 301 + self.random.below(1_000) as i64).to_string(),
            94 => "null".to_owned(),
            95 => format!("{now}.0"),
            _ => {
                let odd =
                    ["0", "1", "-1", "1.5", "1e400", "253402300800", "9223372036854775807", "\"1\"", "true"];
                self.random.one_of(&odd).to_owned()
            }
        })
    }

    fn state(&mut self) -> &'static str {
        let count = if self.random.below(4) == 0 { STATES.len() } else { 5 };
        self.random.one_of(&STATES[..count])
    }

    fn report(&mut self) -> Operation {
        let (path, user) = self.path();
        let mut fields = vec![format!("\"state\":{}", quoted(self.state()))];
        if self.random.below(5) < 2 {
            let refused = self.random.below(12) == 0;
            let content =
                if refused { self.random.one_of(&NO_CONTENTS) } else { self.random.one_of(&CONTENTS) };
            fields.push(format!("\"content\":{content}"));
        }
        fields.extend(self.stamp().map(|at| format!("\"timestamp\":{at}")));
        let id = quoted(&format!("e {}", self.random.below(60)));
        let mut headers = Vec::new();
        match self.random.below(10) {
            0..3 => fields.push(format!("\"event_id\":{id}")),
            3 => headers.push(format!("Idempotency-Key: {}", id.trim_matches('"'))),
            _ => {}
        }
        ask(
            "POST",
            &format!("{path}/checkpoints"),
            Some(user),
            &format!("{{{}}}", fields.join(",")),
            &headers,
        )
    }

    /// Something that was asked before, again; lately, or long ago.
    fn repetition(&mut self) -> Operation {
        let Some(last) = self.asked.len().checked_sub(1) else { return self.report() };
        let back = if self.random.below(2) == 0 { 10 } else { self.asked.len() as u64 };
        let asked = &self.asked[last.saturating_sub(self.random.below(back) as usize)];
        let (kind, user, mut request) = asked.clone();
        if self.random.below(3) == 0 {
            // An event id is for one body; these are as long as each other.
            request =
                request.replace("Working", "Reading").replace("Online", "Onward").replace("Idle", "Busy");
        }
        Operation::Ask { kind, user, request }
    }

    fn beat(&mut self) -> Operation {
        let (path, user) = self.path();
        let mut fields: Vec<_> = self.stamp().map(|at| format!("\"timestamp\":{at}")).into_iter().collect();
        if self.random.below(4) == 0 {
            fields.push(format!("\"state\":{}", quoted(self.state())));
        }
        let body = if fields.is_empty() { String::new() } else { format!("{{{}}}", fields.join(",")) };
        ask("POST", &format!("{path}/heartbeat"), Some(user), &body, &[])
    }

    fn item(&mut self) -> String {
        if self.random.below(25) == 0 {
            let odd = ["7", "null", "{}", r#"{"installId":"short","appVersion":"1","clientTs":1}"#];
            return self.random.one_of(&odd).to_owned();
        }
        let install = self.random.one_of(&INSTALLS);
        let at = self.stamp().filter(|at| at != "1e400").unwrap_or_else(|| self.now().to_string());
        let user = match self.random.below(10) {
            0..4 => String::new(),
            4 => format!(",\"userId\":{}", self.random.one_of(&["7", "7.0", "-1", "0", "1.5", "null"])),
            _ => format!(",\"userId\":{}", quoted(self.user())),
        };
        format!(r#"{{"installId":"{install}","appVersion":"1","clientTs":{at}{user}}}"#)
    }

    fn presence_beat(&mut self) -> Operation {
        let body = self.item();
        ask("POST", "/api/v1/presence/heartbeat", None, &body, &[])
    }

    fn batch(&mut self) -> Operation {
        let items: Vec<_> = (0..self.random.below(12)).map(|_| self.item()).collect();
        ask("POST", "/api/v1/presence/heartbeats", None, &format!("[{}]", items.join(",")), &[])
    }

    /// A query about a window of seconds.
    fn window(&mut self) -> String {
        let mut query = Vec::new();
        let span = if self.random.below(2) == 0 { 600 } else { 12 * 86_400 };
        let from = self.now() - self.random.below(span) as i64;
        if self.random.below(3) > 0 {
            query.push(format!("from={from}"));
        }
        if self.random.below(3) > 0 {
            query.push(format!("to={}", from - 5 + self.random.below(span) as i64));
        }
        query.join("&")
    }

    fn status(&mut self) -> Operation {
        let window = self.window();
        self.of_user("GET", &format!("/status?{window}"))
    }

    fn history(&mut self) -> Operation {
        let (window, limit) =
            (self.window(), self.random.one_of(&["1", "2", "3", "7", "100", "1000", "1001"]));
        self.of_user("GET", &format!("/checkpoints?limit={limit}&{window}"))
    }

    /// A page that an answer led to.
    fn page(&mut self) -> Operation {
        let Some(last) = self.pages.len().checked_sub(1) else { return self.history() };
        let back = self.random.below(self.pages.len().min(5) as u64) as usize;
        let target = self.pages.swap_remove(last - back);
        let user = USERS.into_iter().find(|user| target.starts_with(&format!("/users/{}/", encoded(user))));
        ask("GET", &target, user, "", &[])
    }

    fn one(&mut self) -> Operation {
        if self.owners.is_empty() || self.random.below(20) == 0 {
            let odd = ["0", "-1", "x", "9223372036854775807", "9223372036854775808", "1e3", "%31x"];
            let id = self.random.one_of(&odd);
            return self.of_user("GET", &format!("/checkpoints/{id}"));
        }
        let rank = self.random.below(self.owners.len() as u64) as usize;
        let owner = self.owners[rank].clone();
        // Now and then of somebody else.
        let user = if self.random.below(8) == 0 { self.user().to_owned() } else { owner };
        ask("GET", &format!("/users/{}/checkpoints/#{rank}#", encoded(&user)), Some(&user), "", &[])
    }

    fn summaries(&mut self) -> Operation {
        let mut query = vec![self.window()];
        if self.random.below(3) > 0 {
            query.push(format!("tz={}", self.random.one_of(&ZONES)));
        }
        if self.random.below(20) == 0 {
            query = vec!["from=0".to_owned()];
        }
        query.retain(|part| !part.is_empty());
        self.of_user("GET", &format!("/summaries?{}", query.join("&")))
    }

    fn online_count(&mut self) -> Operation {
        let window =
            self.random.one_of(&["", "?windowSeconds=1", "?windowSeconds=60", "?windowSeconds=86400"]);
        // On a shared store a count may be a second old, and says so.
        self.due = Some(ask("GET", &format!("/api/v1/presence/online-count{window}"), None, "", &[]));
        Operation::Pass(Duration::from_secs(1))
    }

    fn online_users(&mut self) -> Operation {
        let queries = [
            "",
            "?limit=1",
            "?limit=3",
            "?windowSeconds=86400&limit=1000",
            "?windowSeconds=5",
            "?limit=0",
            "?cursor=x",
            "?cursor=u:alice",
        ];
        let query = self.random.one_of(&queries);
        ask("GET", &format!("/api/v1/presence/online-users{query}"), None, "", &[])
    }

    fn events(&mut self) -> Operation {
        let event = |life: &mut Self| {
            let name =
                life.random.one_of(&["app_session_start", "app_session_start", "screen_view", "7 days"]);
            let install = life.random.one_of(&INSTALLS);
            let at = life.stamp().unwrap_or_else(|| life.now().to_string());
            let mut fields = vec![format!(r#""eventName":"{name}","installId":"{install}","clientTs":{at}"#)];
            if life.random.below(2) == 0 {
                fields.push(format!("\"userId\":{}", quoted(life.user())));
            }
            if life.random.below(3) == 0 {
                fields.push(format!("\"eventId\":\"e {}\"", life.random.below(40)));
            }
            if life.random.below(2) == 0 {
                let properties = [
                    r#"{"province":"Hunan","city":"Changsha"}"#,
                    r#"{"province":"\u6e56\u5357"}"#,
                    r#"{"province":"","city":" "}"#,
                    r#"{"province":7,"x":1e300,"y":-0.0}"#,
                    "null",
                    r#"{"a":"\u0000"}"#,
                ];
                fields.push(format!("\"properties\":{}", life.random.one_of(&properties)));
            }
            format!("{{{}}}", fields.join(","))
        };
        let count = self.random.below(8);
        let events: Vec<_> = (0..count).map(|_| event(self)).collect();
        let body = format!("{{\"events\":[{}]}}", events.join(","));
        ask("POST", "/api/v1/analytics/events", None, &body, &[])
    }

    /// An instant of the last days, as text.
    fn instant(&mut self, days: u64) -> String {
        let secs = self.now() - self.random.below(days * 86_400) as i64;
        Timestamp::from_secs(secs).expect("an instant").to_string()
    }

    fn day(&mut self) -> String {
        self.instant(9)[..10].to_owned()
    }

    fn active_users(&mut self) -> Operation {
        let day = self.day();
        match self.random.below(4) {
            0 => ask("POST", &format!("/api/v1/analytics/dau/{day}/recalculate"), None, "", &[]),
            1 => {
                let last = self.day();
                let target = format!("/api/v1/analytics/dau?startDate={day}&endDate={last}");
                ask("GET", &target, None, "", &[])
            }
            2 => ask("GET", "/api/v1/analytics/dau", None, "", &[]),
            _ => {
                let period = self.random.one_of(&["week", "month", "7d", "30d", "year"]);
                let target = format!("/api/v1/analytics/active-users?period={period}&date={day}");
                ask("GET", &target, None, "", &[])
            }
        }
    }

    fn online_history(&mut self) -> Operation {
        let (from, to) = (self.instant(3), self.instant(1));
        let interval = self.random.one_of(&["1m", "5m", "1h", "1d", "7x"]);
        let target =
            format!("/api/v1/presence/online-history?startTime={from}&endTime={to}&interval={interval}");
        ask("GET", &target, None, "", &[])
    }

    fn health(&mut self) -> Operation {
        let paths = [
            "/health",
            "/api/v1/health",
            "/management/health",
            "/livez",
            "/readyz",
            "/nowhere",
            "/users/alice",
        ];
        ask("GET", self.random.one_of(&paths), None, "", &[])
    }
}

fn ask(method: &str, target: &str, user: Option<&str>, body: &str, headers: &[String]) -> Operation {
    let path = target.split('?').next().unwrap_or_default();
    let noun = match path.split('/').collect::<Vec<_>>()[..] {
        ["", "users", _] => "user",
        ["", "users", _, noun] => noun,
        ["", "users", _, "checkpoints", _] => "checkpoint",
        [.., noun] => noun,
        [] => "",
    };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let kind_of_body = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\n{kind_of_body}{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Operation::Ask { kind: format!("{method} {noun}"), user: user.map(str::to_owned), request }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    /// Below `limit`; 0 where that is 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or_default()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }
}
