//! A browser that does what it is told, by the `WebDriver` protocol: JSON over HTTP to `chromedriver`.
//!
//! It waits for what is to be seen, and never for time: [`Browser::until`] comes back when a condition holds in the page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use axum::body::{Body, to_bytes};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// How long a condition may take to hold, in milliseconds: so long that only what never happens takes longer.
const PATIENCE_MS: u32 = 60_000;

/// What the protocol calls a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(super) const ENTER: &str = "\u{E007}";
pub(super) const ESCAPE: &str = "\u{E00C}";

/// `chromedriver`, which starts browsers.
pub(super) struct Driver {
    child: Child,
    port: u16,
    http: Client<HttpConnector, Body>,
}

/// How a browser is to be.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) size: (u32, u32),
    pub(super) is_phone: bool,
    pub(super) is_dark: bool,
}

pub(super) const DESKTOP: Look = Look { size: (1120, 760), is_phone: false, is_dark: false };
pub(super) const PHONE: Look = Look { size: (390, 780), is_phone: true, is_dark: true };

impl Driver {
    pub(super) fn start() -> Self {
        let mut command = Command::new("chromedriver");
        let spawned = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.expect(
            "this test needs `chromedriver` and a Chromium, Debian's packages chromium and chromium-driver",
        );
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let says_port = |line: String| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        };
        let port = lines.find_map(says_port).expect("it says on which port it is");
        // It would stop if nobody read what it says.
        std::thread::spawn(move || lines.for_each(drop));
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Driver { child, port, http }
    }

    /// A browser with a profile of its own.
    pub(super) async fn browser(&self, look: Look) -> Browser<'_> {
        let (width, height) = look.size;
        let arguments = [
            "--headless=new",
            "--no-sandbox", // it may run as root, and sees nothing but our page
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--window-size={width},{height}"),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": PATIENCE_MS },
        });
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = self.post("/session", body).await.unwrap();
        let session = session["sessionId"].as_str().unwrap().to_owned();
        let browser = Browser { driver: self, session };
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": if look.is_phone { 2 } else { 1 },
            "mobile": look.is_phone,
        });
        browser.tools("Emulation.setDeviceMetricsOverride", metrics).await;
        browser.tools("Emulation.setLocaleOverride", json!({ "locale": "en-GB" })).await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.tools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        browser
    }

    /// Asks for something, and gives its value, or what is wrong.
    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        let request = http::Request::post(format!("http://127.0.0.1:{}{path}", self.port))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.http.request(request).await.unwrap();
        let bytes = to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
        let mut reply: Value = serde_json::from_slice(&bytes).unwrap();
        let value = reply["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{path}: {error}: {}", value["message"])),
            None => Ok(value),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It ends all its browsers then.
        let ended = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            write!(
                stream,
                "GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )?;
            stream.read_to_end(&mut Vec::new())
        });
        if ended.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// One browser with one page.
pub(super) struct Browser<'d> {
    driver: &'d Driver,
    session: String,
}

impl Browser<'_> {
    async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, body).await.unwrap()
    }

    async fn try_post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.driver.post(&format!("/session/{}{path}", self.session), body).await
    }

    /// Asks what only Chromium has.
    pub(super) async fn tools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    pub(super) async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    pub(super) async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    async fn element(&self, selector: &str) -> String {
        let found = json!({ "using": "css selector", "value": selector });
        self.post("/element", found).await[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Types into it, key by key.
    pub(super) async fn types(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    pub(super) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// The value of an expression in the page.
    pub(super) async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression in the page is true.
    pub(super) async fn until(&self, expression: &str) {
        let script = "const [expression, done] = arguments;
            const condition = new Function(`return (${expression});`);
            const look = () => { if (condition()) done(); else setTimeout(look, 10); };
            look();";
        let body = json!({ "script": script, "args": [expression] });
        if let Err(error) = self.try_post("/execute/async", body).await {
            let seen = self.value("document.body.innerText").await;
            panic!("it never became true that {expression}: {error}; there is {seen}");
        }
    }

    /// What the console has got since the last time: level and text.
    pub(super) async fn console(&self) -> Vec<(String, String)> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| (text(entry, "level"), text(entry, "message"))).collect()
    }

    /// A picture of what is to be seen, as PNG.
    pub(super) async fn picture(&self) -> Vec<u8> {
        let picture = self.tools("Page.captureScreenshot", json!({ "format": "png" })).await;
        data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap()
    }
}
