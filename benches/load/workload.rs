//! What is asked of the server, rendered before the clock runs.

use std::fmt::Write as _;

use crate::{activity::Events, user};

/// What each request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `POST /api/v1/presence/heartbeat`: one heartbeat.
    Heartbeat,
    /// `POST /api/v1/presence/heartbeats`: a batch of heartbeats.
    Heartbeats,
    /// `POST /users/{user_id}/heartbeat`, without a body.
    UserHeartbeat,
    /// `POST /users/{user_id}/checkpoints`: a report that changes the state.
    Checkpoint,
    /// `GET /api/v1/presence/online-count`.
    OnlineCount,
    /// `GET /users/{user_id}/status`, of all time.
    Status,
    /// `POST /api/v1/analytics/events`: a batch of events of today, of three people in ten events.
    Events,
    /// `GET /api/v1/analytics/dau`: the last seven days.
    DailyActiveUsers,
}

/// Which requests there are: users in turn.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What each request does.
    pub kind: Kind,
    /// How many users take turns; of events, how many there are.
    pub users: u64,
    /// How many heartbeats or events a batch has.
    pub batch: u64,
    /// Heartbeats of installs whose user is not known.
    pub anonymous: bool,
    /// Authority of the server, as `Host` says it.
    pub host: String,
    /// What stands before the path of each request: empty, or from a `/` on.
    pub prefix: String,
    /// Header lines that each request has besides, without their ends.
    pub headers: Vec<String>,
}

/// A request as it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where a stamp of ten digits begins.
    stamps: Vec<usize>,
    stamped: i64,
    /// How many heartbeats or reports it carries.
    pub(super) items: u64,
}

impl Request {
    /// Its bytes, with all stamps at this second.
    pub(super) fn at(&mut self, second: i64) -> &[u8] {
        if self.stamped != second && !self.stamps.is_empty() {
            let digits = format!("{second:010}");
            for &stamp in &self.stamps {
                self.bytes[stamp..stamp + digits.len()].copy_from_slice(digits.as_bytes());
            }
            self.stamped = second;
        }
        &self.bytes
    }
}

impl Workload {
    /// The requests of one of `clients`, at least one. Together they have every user once; reports have every user
    /// twice, so that each changes the state. No user is shared by two clients unless there are more clients.
    #[must_use]
    pub fn requests(&self, client: u64, clients: u64) -> Vec<Request> {
        let turn = |count: u64| (client % count.max(1)..count.max(1)).step_by(clients.max(1) as usize);
        let user_path = |number: u64, rest: &str| format!("/users/{}/{rest}", user(number));
        match self.kind {
            Kind::Heartbeat => turn(self.users)
                .map(|number| self.post("/api/v1/presence/heartbeat", &self.heartbeat(number), 1))
                .collect(),
            Kind::Heartbeats => turn(self.users.div_ceil(self.batch.max(1)))
                .map(|batch| {
                    let numbers = (batch * self.batch..self.users).take(self.batch as usize);
                    let items: Vec<_> = numbers.map(|number| self.heartbeat(number)).collect();
                    let body = format!("[{}]", items.join(","));
                    self.post("/api/v1/presence/heartbeats", &body, items.len() as u64)
                })
                .collect(),
            Kind::UserHeartbeat => {
                turn(self.users).map(|number| self.post(&user_path(number, "heartbeat"), "", 1)).collect()
            }
            Kind::Checkpoint => ["Working", "Idle"]
                .into_iter()
                .flat_map(|state| {
                    let body = format!(r#"{{"state":"{state}"}}"#);
                    turn(self.users).map(move |number| self.post(&user_path(number, "checkpoints"), &body, 1))
                })
                .collect(),
            Kind::Status => turn(self.users)
                .map(|number| self.request("GET", &user_path(number, "status"), "", 1))
                .collect(),
            Kind::OnlineCount => vec![self.request("GET", "/api/v1/presence/online-count", "", 1)],
            Kind::Events => {
                let events = Events::of(0, self.users, self.users * 3 / 10 + 10);
                turn(self.users.div_ceil(self.batch.max(1)))
                    .map(|batch| {
                        let rows = (batch * self.batch..self.users).take(self.batch as usize);
                        let event = |row| format!(r#"{{{},"clientTs":{STAMP}}}"#, events.json(row as usize));
                        let items: Vec<_> = rows.map(event).collect();
                        let body = format!(r#"{{"events":[{}]}}"#, items.join(","));
                        self.post("/api/v1/analytics/events", &body, items.len() as u64)
                    })
                    .collect()
            }
            Kind::DailyActiveUsers => vec![self.request("GET", "/api/v1/analytics/dau", "", 1)],
        }
    }

    /// Whether an answer with success means that all was taken.
    pub(super) fn is_taken(&self, body: &[u8]) -> bool {
        !matches!(self.kind, Kind::Heartbeats | Kind::Events)
            || body.windows(11).any(|part| part == br#""failed":0,"#)
    }

    fn heartbeat(&self, number: u64) -> String {
        // An install is named like its user, but with another number, as ids of devices are nobody's.
        let install = user(number + (1 << 40));
        let mut body = format!(r#"{{"installId":"{install}","appVersion":"1.4.2","clientTs":{STAMP}"#);
        if !self.anonymous {
            // Writing to text does not fail.
            let _ = write!(body, r#","userId":"{}""#, user(number));
        }
        body.push('}');
        body
    }

    fn post(&self, path: &str, body: &str, items: u64) -> Request {
        self.request("POST", path, body, items)
    }

    fn request(&self, method: &str, path: &str, body: &str, items: u64) -> Request {
        let Self { host, prefix, headers, .. } = self;
        let mut text = format!("{method} {prefix}{path} HTTP/1.1\r\nHost: {host}\r\n");
        for header in headers {
            text.extend([header.as_str(), "\r\n"]);
        }
        if method == "POST" {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let head = text.len();
        text.push_str(body);
        let stamps = text[head..].match_indices(STAMP).map(|(place, _)| head + place).collect();
        Request { bytes: text.into_bytes(), stamps, stamped: 0, items }
    }
}

/// What stands for a stamp until a request is sent: in no id, which is hexadecimal.
const STAMP: &str = "SSSSSSSSSS";

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: Kind) -> Workload {
        Workload {
            kind,
            users: 10,
            batch: 4,
            anonymous: false,
            host: "localhost:1".into(),
            prefix: "/here".into(),
            headers: vec!["X-Y: z".into()],
        }
    }

    fn text(mut request: Request) -> String {
        String::from_utf8(request.at(1_700_000_001).to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_rendered_whole_and_stamped_when_it_is_sent() {
        let mut requests = workload(Kind::Heartbeat).requests(3, 4);
        assert_eq!(requests.len(), 2, "users 3 and 7");
        let sent = text(requests.swap_remove(1));
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head,
            format!(
                "POST /here/api/v1/presence/heartbeat HTTP/1.1\r\nHost: localhost:1\r\nX-Y: z\r\n\
                 Content-Type: application/json\r\nContent-Length: {}",
                body.len()
            )
        );
        assert!(body.contains(&format!(r#""clientTs":1700000001,"userId":"{}"}}"#, user(7))), "{body}");
    }

    #[test]
    fn clients_together_have_every_user_once() {
        for (kind, times) in [(Kind::Heartbeat, 1), (Kind::Heartbeats, 1), (Kind::Checkpoint, 2)] {
            let all: Vec<_> =
                (0..3).flat_map(|client| workload(kind).requests(client, 3)).map(text).collect();
            for number in 0..10 {
                let name = user(number).to_string();
                let found: usize = all.iter().map(|request| request.matches(&name).count()).sum();
                assert_eq!(found, times, "{kind:?}, user {number}");
            }
        }
    }

    #[test]
    fn a_client_beyond_the_users_has_a_request_too() {
        assert_eq!(workload(Kind::UserHeartbeat).requests(11, 16).len(), 1);
    }

    #[test]
    fn a_batch_is_taken_only_where_nothing_failed() {
        let taken = |body: &str| workload(Kind::Heartbeats).is_taken(body.as_bytes());
        assert!(taken(r#"{"accepted":4,"failed":0,"errors":[],"serverTs":1}"#));
        assert!(!taken(r#"{"accepted":3,"failed":1,"errors":[],"serverTs":1}"#));
    }
}
