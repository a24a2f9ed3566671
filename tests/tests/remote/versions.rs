//! Clients and servers that were built from different sources.

use std::sync::Arc;

use axum::Router;
use durable::client::Client;
use durable::http::{Expose, router};
use durable::prelude::*;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response as Answer};
use tokio_tungstenite::{accept_hdr_async, connect_async};

/// As it was.
mod old {
    use durable::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub article: String,
        pub count: u32,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Receipt {
        pub total: u32,
        pub article: String,
    }

    #[derive(Default)]
    pub struct Shop;

    #[durable_object]
    impl Shop {
        pub fn buy(&mut self, order: Order) -> Receipt {
            Receipt { total: order.count * 10, article: order.article }
        }

        pub fn rename(&mut self, order: Order) -> String {
            order.article
        }

        pub fn status(&self) -> u32 {
            7
        }

        pub fn minus(&self, from: i64, what: i64) -> i64 {
            from - what
        }

        pub fn shut(&mut self, day: String, hour: u8) -> String {
            format!("{day} {hour}")
        }

        pub fn gone(&self) {}

        /// Of a type that says by itself what it looks like.
        pub fn free(&self, value: serde_json::Value) -> serde_json::Value {
            value
        }
    }
}

/// As it is now.
mod new {
    use durable::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        #[serde(default)]
        pub express: bool,
        pub count: u32,
        pub article: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Receipt {
        pub article: String,
        pub total: u32,
        pub tax: u32,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Name {
        pub text: String,
    }

    #[derive(Default)]
    pub struct Shop;

    #[durable_object]
    impl Shop {
        pub fn buy(&mut self, order: Order) -> Receipt {
            let total = order.count * 10 + u32::from(order.express);
            Receipt { total, article: order.article, tax: 2 }
        }

        pub fn rename(&mut self, order: Name) -> String {
            order.text
        }

        pub fn status(&self) -> String {
            "open".to_owned()
        }

        /// The same arguments in another order, and one more.
        pub fn minus(&self, what: i64, note: Option<String>, from: i64) -> i64 {
            assert_eq!(note, None);
            from - what
        }

        pub fn shut(&mut self, day: String, minute: u8) -> String {
            format!("{day} {minute}")
        }

        pub fn free(&self, value: serde_json::Value) -> serde_json::Value {
            value
        }
    }
}

async fn serve<T: DurableObject>(directory: &TempDir, address: &str) -> (Runtime, String) {
    let runtime = Runtime::builder(directory.path()).register::<T>().start().await.unwrap();
    let app: Router = router(&runtime).expose::<T>(Expose::All).build().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(axum::serve(listener, app).into_future());
    (runtime, address)
}

fn order() -> old::Order {
    old::Order { article: "tea".into(), count: 3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_keeps_working() {
    let directory = TempDir::new().unwrap();
    let (_runtime, address) = serve::<new::Shop>(&directory, "127.0.0.1:0").await;
    let client = Client::connect(&format!("http://{address}")).await.unwrap();
    let shop = client.namespace::<old::Shop>().get_by_name("a");
    for _ in 0..3 {
        let receipt = shop.buy(order()).await.unwrap();
        assert_eq!(receipt, old::Receipt { total: 30, article: "tea".into() });
    }
    assert!(matches!(shop.gone().await, Err(CallError::NotFound(_))));
    // Arguments of one type are not taken for each other.
    assert_eq!(shop.minus(10, 3).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_with_both_shapes() {
    let directory = TempDir::new().unwrap();
    let (_runtime, address) = serve::<new::Shop>(&directory, "127.0.0.1:0").await;
    let client = Client::connect(&format!("http://{address}")).await.unwrap();
    let shop = client.namespace::<old::Shop>().get_by_name("a");
    let CallError::Incompatible { method, reason } = shop.rename(order()).await.unwrap_err() else {
        panic!("it fits");
    };
    assert_eq!(method, "rename");
    for part in ["missing field `text`", "article: String", "Name { text: String }"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let CallError::Incompatible { reason, .. } = shop.shut("Monday".into(), 7).await.unwrap_err()
    else {
        panic!("it fits");
    };
    assert!(reason.contains("no argument `minute`"), "{reason}");
    // A reply that nobody here can read: the object has run the call.
    let CallError::Incompatible { reason, .. } = shop.status().await.unwrap_err() else {
        panic!("it fits");
    };
    for part in ["has run it", "the reply", "u32", "String"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_without_a_shape_go_through() {
    let directory = TempDir::new().unwrap();
    let (_runtime, address) = serve::<old::Shop>(&directory, "127.0.0.1:0").await;
    let client = Client::connect(&format!("http://{address}")).await.unwrap();
    let shop = client.namespace::<old::Shop>().get_by_name("a");
    let value = serde_json::json!({ "a": [1, null, "b"], "c": 1.5 });
    for _ in 0..3 {
        assert_eq!(shop.free(value.clone()).await, Ok(value.clone()));
    }
}

/// A call that was written for the old server, and comes to the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_replaced_gets_calls_in_the_form_that_it_reads() {
    let directory = TempDir::new().unwrap();
    let (runtime, address) = serve::<old::Shop>(&directory, "127.0.0.1:0").await;
    let proxy = Proxy::start(address).await;
    let client = Client::connect(&proxy.url).await.unwrap();
    let shop = client.namespace::<old::Shop>().get_by_name("a");
    // From the second one on without names.
    shop.buy(order()).await.unwrap();
    shop.buy(order()).await.unwrap();
    runtime.shutdown().await.unwrap();
    let mut call = Box::pin(shop.buy(order()));
    assert_eq!(futures_util::poll!(&mut call), std::task::Poll::Pending);
    let (_runtime, address) = serve::<new::Shop>(&directory, "127.0.0.1:0").await;
    proxy.lead_to(address);
    assert_eq!(call.await.unwrap().total, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_go_along_until_the_server_is_known_to_agree() {
    let directory = TempDir::new().unwrap();
    let (_runtime, address) = serve::<old::Shop>(&directory, "127.0.0.1:0").await;
    let proxy = Proxy::start(address).await;
    let client = Client::connect(&proxy.url).await.unwrap();
    let shop = client.namespace::<old::Shop>().get_by_name("a");
    let mut has_names = Vec::new();
    for _ in 0..3 {
        shop.buy(order()).await.unwrap();
        let frames: Vec<Vec<u8>> = std::mem::take(&mut *proxy.seen.lock());
        has_names.push(frames.iter().map(|frame| contains(frame, b"count")).collect::<Vec<_>>());
        assert!(frames.iter().all(|frame| contains(frame, b"tea")));
    }
    // The reply has the form of the call, and no field of that name.
    assert_eq!(has_names, [[true, false], [false, false], [false, false]]);
}

fn contains(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

/// Passes frames on, and keeps them.
struct Proxy {
    url: String,
    leads_to: Arc<Mutex<String>>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Proxy {
    async fn start(leads_to: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (leads_to, seen) = (Arc::new(Mutex::new(leads_to)), Arc::<Mutex<Vec<_>>>::default());
        let proxy = Proxy { url, leads_to: Arc::clone(&leads_to), seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let far = leads_to.lock().clone();
                tokio::spawn(pass(stream, far, Arc::clone(&seen)));
            }
        });
        proxy
    }

    fn lead_to(&self, address: String) {
        *self.leads_to.lock() = address;
    }
}

async fn pass(stream: tokio::net::TcpStream, far: String, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let protocol = http::HeaderValue::from_static(durable::remote::PROTOCOL);
    let mut request = format!("ws://{far}/rpc").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.clone());
    let Ok((mut far, _)) = connect_async(request).await else { return };
    #[allow(clippy::result_large_err, reason = "the library's own signature")]
    let answer = |_: &Upgrade, mut response: Answer| {
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let Ok(mut near) = accept_hdr_async(stream, answer).await else { return };
    loop {
        let (frame, goes_far) = tokio::select! {
            frame = near.next() => (frame, true),
            frame = far.next() => (frame, false),
        };
        let Some(Ok(frame)) = frame else { return };
        if let Frame::Binary(bytes) = &frame {
            seen.lock().push(bytes.to_vec());
        }
        let sent = if goes_far { far.send(frame).await } else { near.send(frame).await };
        if sent.is_err() {
            return;
        }
    }
}
