//! The page in a real browser: two people, a reload, a server that is killed.
//!
//! `cargo test -p chat --test browser -- --ignored` needs Chromium and its driver: Debian's packages `chromium` and
//! `chromium-driver`. With `CHAT_PICTURES=examples/chat` it makes the pictures of the README anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "helpers of tests fail as tests do, and other tests have more of them"
)]

#[path = "../process/client.rs"]
mod client;
mod driver;
mod pictures;
#[path = "../process/server.rs"]
mod server;

use serde_json::{Value, json};
use tempfile::tempdir;

use client::{Client, history};
use driver::{Browser, DESKTOP, Driver, ENTER, Look, PHONE};
use server::{Server, any_port, chat};

/// Somebody with a browser.
struct Person<'d> {
    browser: Browser<'d>,
}

impl<'d> Person<'d> {
    /// Opens the page of a room and says a name.
    async fn enters(driver: &'d Driver, look: Look, page: &str, name: &str) -> Self {
        let browser = driver.browser(look).await;
        browser.go(page).await;
        browser.types("#name", &format!("{name}{ENTER}")).await;
        let person = Person { browser };
        person.is_in().await;
        person
    }

    /// Waits until the room has let the person in.
    async fn is_in(&self) {
        let is_in = "document.getElementById('state').dataset.state === 'online' \
                     && document.getElementById('people-count').textContent !== '0'";
        self.browser.until(is_in).await;
    }

    /// Waits until the page says that there is no connection.
    async fn is_out(&self) {
        self.browser.until("document.getElementById('state').dataset.state === 'waiting'").await;
    }

    async fn writes(&self, text: &str) {
        self.browser.types("#text", &format!("{text}{ENTER}")).await;
    }

    /// Waits until these are the messages, and no others, as author and text, and none waits to be sent.
    async fn reads(&self, messages: &[(&str, &str)]) {
        let wanted = json!(json!(messages).to_string());
        let shown = "JSON.stringify([...document.querySelectorAll('#messages .message')]\
                     .map(item => [item.dataset.author, item.querySelector('.text').textContent]))";
        let none_waits = "!document.querySelector('.pending')";
        self.browser.until(&format!("{shown} === {wanted} && {none_waits}")).await;
    }

    async fn fits_its_screen(&self) {
        let page = "document.documentElement";
        let widths = format!("[{page}.scrollWidth, innerWidth, visualViewport.scale]");
        let widths = self.browser.value(&widths).await;
        assert_eq!(widths[0], widths[1], "the page can be scrolled sideways");
        assert_eq!(widths[2], 1, "the browser has made the page smaller");
    }
}

fn page(server: &Server, room: &str) -> String {
    format!("http://{}/room/{room}", server.address)
}

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn two_people_chat_over_a_reload_and_a_server_that_is_killed() {
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let server = Server::start(&mut chat(directory.path(), any_port()));
    let address = server.address;
    let ann = Person::enters(&driver, DESKTOP, &page(&server, "lobby"), "Ann").await;
    let bob = Person::enters(&driver, DESKTOP, &page(&server, "lobby"), "Bob").await;
    let is_markup = "<img src=x onerror=alert(1)> is text";
    ann.writes("Hello Bob").await;
    bob.reads(&[("Ann", "Hello Bob")]).await;
    bob.writes(is_markup).await;
    let mut said = vec![("Ann", "Hello Bob"), ("Bob", is_markup)];
    ann.reads(&said).await;
    bob.reads(&said).await;
    assert_eq!(ann.browser.value("document.querySelectorAll('#chat img').length").await, 0);

    // In another window of the same browser, somebody takes another name.
    ann.browser.value("localStorage.setItem('name', 'Cy')").await;
    ann.browser.reload().await;
    ann.is_in().await;
    ann.reads(&said).await;
    for person in [&ann, &bob] {
        assert_eq!(person.browser.console().await, [], "a clean console");
    }

    server.kill();
    ann.is_out().await;
    bob.is_out().await;
    ann.writes("Is anybody there?").await;
    ann.browser.until("document.querySelectorAll('#pending .pending').length === 1").await;

    let server = Server::start(&mut chat(directory.path(), address));
    ann.is_in().await;
    bob.is_in().await;
    said.push(("Ann", "Is anybody there?"));
    ann.reads(&said).await;
    bob.reads(&said).await;
    let stored = history(server.address, "lobby").await;
    let stored: Vec<_> = stored.iter().map(|post| (&*post.author, &*post.text)).collect();
    assert_eq!(stored, said, "once, however often it was sent");
    bob.browser.reload().await;
    bob.is_in().await;
    bob.reads(&said).await;
    // With pages that are open, it ends all the same.
    assert!(server.interrupt().0.success());
    ann.is_out().await;
    bob.is_out().await;
    for person in [&ann, &bob] {
        // What the browser itself says of a server that is not there.
        let is_expected = |text: &str| text.contains("WebSocket connection to");
        let console = person.browser.console().await;
        let others: Vec<_> = console.iter().filter(|(_, text)| !is_expected(text)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn a_message_whose_answer_is_lost_is_there_once() {
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let server = Server::start(&mut chat(directory.path(), any_port()));
    let ann = Person::enters(&driver, DESKTOP, &page(&server, "lobby"), "Ann").await;
    let lose_the_answer = "(() => {
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) {
            send.call(this, text);
            WebSocket.prototype.send = send;
            this.close();
        };
    })()";
    let mut said = Vec::new();
    for text in ["one", "two", "three"] {
        ann.browser.value(lose_the_answer).await;
        ann.writes(text).await;
        said.push(("Ann", text));
        ann.reads(&said).await;
    }
    let stored = history(server.address, "lobby").await;
    assert_eq!(
        stored.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
}

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn who_is_too_fast_waits_and_what_is_refused_is_told() {
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let mut command = chat(directory.path(), any_port());
    let server = Server::start(command.args(["--burst=1", "--per-second=2"]));
    let ann = Person::enters(&driver, DESKTOP, &page(&server, "lobby"), "Ann").await;
    for text in ["one", "two", "three"] {
        ann.writes(text).await;
    }
    ann.reads(&[("Ann", "one"), ("Ann", "two"), ("Ann", "three")]).await;
    ann.browser.value("document.getElementById('text').value = 'rings the bell: \\u0007'").await;
    ann.browser.types("#text", ENTER).await;
    let told = "document.querySelector('.refused .meta')?.textContent";
    let reason = "not sent: a message may not have control characters";
    ann.browser.until(&format!("{told} === '{reason}'")).await;
    ann.writes("four").await;
    ann.browser.until("document.querySelectorAll('#messages .message').length === 4").await;
}

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn a_phone_shows_all_and_scrolls_one_way_only() {
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let server = Server::start(&mut chat(directory.path(), any_port()));
    let long_name = "W".repeat(40);
    let mut other = Client::join(server.address, &long_name, &long_name).await.unwrap();
    other.next().await.unwrap();
    other.adds("1", &"Donaudampfschifffahrt".repeat(20)).await;
    let ann = Person::enters(&driver, PHONE, &page(&server, &long_name), "Ann").await;
    ann.fits_its_screen().await;
    ann.writes(&"x".repeat(300)).await;
    ann.browser.until("document.querySelectorAll('#messages .own').length === 1").await;
    ann.fits_its_screen().await;

    let is_shown = |shown: bool| {
        format!(
            "getComputedStyle(document.getElementById('people')).visibility === '{}'",
            if shown { "visible" } else { "hidden" }
        )
    };
    ann.browser.click("#people-button").await;
    ann.browser.until(&is_shown(true)).await;
    ann.fits_its_screen().await;
    ann.browser.types("#people-button", driver::ESCAPE).await;
    ann.browser.until(&is_shown(false)).await;

    // Smaller, and phones enlarge the page when somebody begins to write.
    let small = "[...document.querySelectorAll('input, textarea')]\
                 .filter(field => parseFloat(getComputedStyle(field).fontSize) < 16).length";
    assert_eq!(ann.browser.value(small).await, 0);
    let background = ann.browser.value("getComputedStyle(document.body).backgroundColor").await;
    assert_eq!(background, "rgb(21, 23, 27)", "it is dark");

    ann.browser.go(&format!("http://{}/", server.address)).await;
    ann.browser.until("!document.getElementById('recent').hidden").await;
    ann.fits_its_screen().await;
    assert_eq!(ann.browser.console().await, []);
}

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn who_reads_earlier_messages_is_left_in_peace() {
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let server = Server::start(chat(directory.path(), any_port()).arg("--burst=1000"));
    let mut bob = Client::join(server.address, "lobby", "Bob").await.unwrap();
    bob.next().await.unwrap();
    for number in 1..=120 {
        bob.adds(&number.to_string(), &format!("message {number}")).await;
    }
    let ann = Person::enters(&driver, DESKTOP, &page(&server, "lobby"), "Ann").await;
    let shown = "document.querySelectorAll('#messages .message').length";
    let scroll = "document.getElementById('scroll')";
    let left = format!("{scroll}.scrollHeight - {scroll}.scrollTop - {scroll}.clientHeight");
    ann.browser.until(&format!("{shown} === 50 && {left} < 2")).await;
    for count in [100, 120] {
        // What is read stays where it is.
        let top =
            "document.querySelector('#messages .message .bubble').getBoundingClientRect().top";
        let keep = format!(
            "{scroll}.scrollTop = 0, window.first = document.querySelector('#messages .bubble'), {top}"
        );
        let before = ann.browser.value(&keep).await;
        ann.browser.click("#earlier").await;
        ann.browser.until(&format!("{shown} === {count}")).await;
        let after = ann.browser.value("window.first.getBoundingClientRect().top").await;
        let moved = before.as_f64().unwrap() - after.as_f64().unwrap();
        assert!(moved.abs() < 80.0, "moved by {moved} pixels");
    }
    ann.browser.until("!document.getElementById('beginning').hidden && document.getElementById('earlier').hidden").await;

    ann.browser.value(&format!("{scroll}.scrollTop = 0")).await;
    ann.browser.until(&format!("{scroll}.scrollTop === 0")).await;
    let newest = "document.getElementById('newest')";
    for number in 121..=123 {
        bob.adds(&number.to_string(), "news").await;
    }
    ann.browser
        .until(&format!("!{newest}.hidden && {newest}.textContent === '3 new messages'"))
        .await;
    assert_eq!(ann.browser.value(&format!("{scroll}.scrollTop")).await, 0);
    ann.browser.click("#newest").await;
    ann.browser.until(&format!("{newest}.hidden && {left} < 2")).await;
    let order = "[...document.querySelectorAll('#messages .message')].map(item => Number(item.dataset.seq))";
    let expected: Vec<Value> = (1..=123).map(Value::from).collect();
    assert_eq!(ann.browser.value(order).await, Value::from(expected));
    assert_eq!(ann.browser.console().await, []);
}
