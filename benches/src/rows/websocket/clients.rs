//! The other ends of sockets, some of them in a process of their own: it has as many open files as the server has.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::rows::{executor, fail, ok};

pub(super) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How many connect at the same time.
const AT_ONCE: usize = 16;

/// Small buffers: thousands of them are to fit beside each other.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(4 * 1024)
}

pub(super) async fn connect(urls: impl Iterator<Item = String>) -> Vec<Client> {
    let clients = urls
        .map(|url| async move { ok(connect_async_with_config(url, Some(config()), true).await).0 });
    stream::iter(clients).buffer_unordered(AT_ONCE).collect().await
}

/// Connects to one URL, says so, and then says each time that all have got one more message. Ends with its input.
pub(crate) fn listen(url: &str, sockets: usize) {
    let executor = executor();
    let urls = (0..sockets).map(|_| url.to_owned());
    let clients = executor.block_on(connect(urls));
    println!("{sockets}");
    let got = Arc::<AtomicUsize>::default();
    for mut client in clients {
        let got = Arc::clone(&got);
        executor.spawn(async move {
            while let Some(message) = client.next().await {
                if message.is_ok_and(|message| message.is_text())
                    && (got.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(sockets)
                {
                    println!("1");
                }
            }
        });
    }
    match std::io::stdin().read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => fail(&error.to_string()),
    }
    executor.shutdown_background();
}
