//! The page of a room in a real browser: Chromium without a window, spoken to over its DevTools protocol.
//!
//! It needs Debian's `chromium`, which `scripts/setup.sh` installs.

use std::{net::SocketAddr, process::Stdio};

use axum::{Router, http::header, routing::get};
use futures_util::{SinkExt, StreamExt};
use presence_core::{ClientFrame, UserId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::support::{Member, PATIENCE, ROOM, Way, server};

const PAGE: &str = include_str!("../../room_chat/index.html");
const SCRIPT: &str = include_str!("../../room_chat/chat.js");
const STYLE: &str = include_str!("../../room_chat/chat.css");

/// Serves the page's folder, as `python3 -m http.server` does.
async fn folder() -> SocketAddr {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    let files = Router::new()
        .route("/", file("text/html", PAGE))
        .route("/chat.js", file("text/javascript", SCRIPT))
        .route("/chat.css", file("text/css", STYLE));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, files).await });
    address
}

/// The page in a browser of its own, which ends with it.
struct Page {
    _browser: Child,
    _profile: TempDir,
    tools: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    is_loaded: bool,
    asked: u64,
}

impl Page {
    /// Opens the page at `folder`, filled in for `user` and a server.
    async fn open(folder: SocketAddr, server: SocketAddr, user: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let mut browser = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium: scripts/setup.sh installs it");
        let mut said = BufReader::new(browser.stderr.take().expect("piped")).lines();
        let tools = timeout(PATIENCE, async {
            loop {
                let line = said.next_line().await.expect("text").expect("a browser that stays");
                if let Some(tools) = line.strip_prefix("DevTools listening on ") {
                    return tools.to_owned();
                }
            }
        });
        let tools = tools.await.expect("a browser that starts");
        // It may say more, and is not to wait for somebody who reads.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let (tools, _) = connect_async(tools).await.expect("a browser that listens");
        let mut page =
            Self { _browser: browser, _profile: profile, tools, session: None, is_loaded: false, asked: 0 };
        let url = format!("http://{folder}/?server=ws://{server}&room={}&user={user}&nickname={user}", ROOM);
        let target = page.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.ask("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        page.ask("Page.enable", json!({})).await;
        page.ask("Page.navigate", json!({ "url": url })).await;
        while !page.is_loaded {
            page.next().await;
        }
        page
    }

    /// The same, and joins.
    async fn join(folder: SocketAddr, server: SocketAddr, user: &str) -> Self {
        let mut page = Self::open(folder, server, user).await;
        page.run("document.querySelector('#join button').click()").await;
        page
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut question = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            question["sessionId"] = json!(session);
        }
        self.tools.send(Message::text(question.to_string())).await.expect("sent");
        loop {
            let answer = self.next().await;
            if answer["id"] == json!(self.asked) {
                assert!(answer["error"].is_null(), "{question}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The next answer, or event.
    async fn next(&mut self) -> Value {
        let next =
            timeout(PATIENCE, self.tools.next()).await.expect("the browser answers, the page gets there");
        let text = next.expect("no end").expect("a frame").into_text().expect("text");
        let said: Value = serde_json::from_str(&text).expect("JSON");
        self.is_loaded |= said["method"] == "Page.loadEventFired";
        said
    }

    /// What an expression, or what it promises, is in the page.
    async fn run(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.ask("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until something is so in the page.
    async fn until(&mut self, condition: &str) {
        let watch = format!(
            "new Promise((done) => {{
                const look = () => ({condition}) && (done(true), watcher.disconnect());
                const watcher = new MutationObserver(look);
                watcher.observe(document, {{ attributes: true, characterData: true, childList: true, subtree: true }});
                look();
            }})"
        );
        self.run(&watch).await;
    }

    /// Waits until the page's lines are these, but for who comes and goes.
    async fn until_said(&mut self, expected: &[&str]) {
        let lines = "[...document.querySelectorAll('#lines .said')].map((line) => line.textContent)";
        self.until(&format!("JSON.stringify({lines}) === JSON.stringify({})", json!(expected))).await;
    }

    async fn say(&mut self, content: &str) {
        self.run(&format!("document.querySelector('#content').value = {}", json!(content))).await;
        self.run("document.querySelector('#send').click()").await;
    }

    /// Clicks what stands beside a line of somebody.
    async fn click(&mut self, label: &str) {
        let buttons = "[...document.querySelectorAll('#lines button')]";
        self.run(&format!("{buttons}.find((button) => button.textContent === {}).click()", json!(label)))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_talks_with_others_and_what_they_say_is_text() {
    let folder = folder().await;
    let server = server(&format!("http://{folder}")).await;
    let mut bob = Member::join(server, "bob").await;
    let mut page = Page::join(folder, server, "alice").await;
    page.until("document.querySelector('#state').textContent === 'in as alice'").await;
    page.until("document.querySelector('#members').textContent === '2 here, 2 at most'").await;

    page.say("hello, 大家好").await;
    bob.until("hello, 大家好").await;
    let markup = "<img src=x onerror=\"document.title='broken into'\"><b>bold</b>";
    bob.say(markup).await;
    page.until_said(&["alicehello, 大家好", &format!("bob{markup}")]).await;
    assert_eq!(page.run("document.querySelectorAll('#lines img, #lines b, #lines button').length").await, 0);
    assert_eq!(page.run("document.title").await, "A room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_cut_off_comes_back_and_shows_what_it_missed_once() {
    let folder = folder().await;
    let server = server(&format!("http://{folder}")).await;
    let way = Way::to(server).await;
    let mut bob = Member::join(server, "bob").await;
    let mut page = Page::join(folder, way.address, "alice").await;
    page.until("document.querySelector('#state').textContent === 'in as alice'").await;
    bob.say("one").await;
    page.until_said(&["bobone"]).await;

    way.cut();
    page.until("!document.querySelector('#state').textContent.startsWith('in as')").await;
    bob.say("two").await;
    bob.say("three").await;
    bob.until("three").await;
    way.mend();
    page.until_said(&["bobone", "bobtwo", "bobthree"]).await;

    bob.say("four").await;
    page.until_said(&["bobone", "bobtwo", "bobthree", "bobfour"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_mutes_and_kicks_beside_what_was_said() {
    let folder = folder().await;
    let server = server(&format!("http://{folder}")).await;
    let mut eve = Member::join(server, "eve").await;
    let mut page = Page::join(folder, server, "root").await;
    page.until("document.querySelector('#state').textContent === 'in as root, administrator'").await;
    eve.say("rude").await;
    page.until("document.querySelectorAll('#lines button').length === 2").await;

    page.click("mute").await;
    eve.until("YouAreMuted").await;
    page.until("document.querySelector('#lines').textContent.includes('eve is muted')").await;
    page.click("kick").await;
    eve.until("YouAreKicked").await;
    assert_eq!(eve.closed().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_user_is_kicked_says_so_and_stays_out() {
    let folder = folder().await;
    let server = server(&format!("http://{folder}")).await;
    let mut root = Member::join(server, "root").await;
    let mut page = Page::join(folder, server, "eve").await;
    page.until("document.querySelector('#state').textContent === 'in as eve'").await;

    root.send(&ClientFrame::KickUser { user_id: UserId::new("eve").expect("a user") }).await;
    page.until("document.querySelector('#state').textContent.startsWith('out: ')").await;
    assert_eq!(page.run("document.querySelector('#lines .wrong').textContent").await, "you are out");
    assert_eq!(page.run("document.querySelector('#join').hidden").await, false);
    assert_eq!(page.run("[asked, socket]").await, json!([null, null]), "nothing is tried again");

    page.run("document.querySelector('#join button').click()").await;
    page.until("document.querySelectorAll('#lines .wrong').length === 2").await;
    let said = page.run("document.querySelectorAll('#lines .wrong')[1].textContent").await;
    assert_eq!(said, "你已被踢出该房间，无法再次加入");
}

#[test]
fn the_page_takes_nothing_from_elsewhere_and_no_markup_from_anybody() {
    for (name, text) in [("index.html", PAGE), ("chat.js", SCRIPT), ("chat.css", STYLE)] {
        for foreign in ["http:", "https:", "//cdn", "@import", "import(", "url("] {
            assert!(!text.contains(foreign), "{name} has {foreign}");
        }
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(markup), "{name} has {markup}");
        }
    }
    assert!(PAGE.contains("default-src 'none'"), "and the browser sees to it");
}
