use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

/// Reads what is there: `None` if nothing is.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn close(code: u16, reason: &str) -> Outgoing {
    Outgoing::Close(CloseFrame { code: Some(code), reason: reason.to_owned() })
}

async fn written(client: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn frames_are_written_as_the_standard_says() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (_reader, mut writer) = split(server, 1_000);
        writer.feed(Outgoing::Text("hi".into())).await.unwrap();
        writer.feed(Outgoing::Ping).await.unwrap();
        writer.feed(Outgoing::Binary(vec![7; 300].into())).await.unwrap();
        writer.feed(Outgoing::Binary(vec![8; 70_000].into())).await.unwrap();
        writer.send(close(4000, "so")).await.unwrap();
        assert_eq!(written(&mut client, 4).await, b"\x81\x02hi");
        assert_eq!(written(&mut client, 2).await, [0x89, 0]);
        assert_eq!(written(&mut client, 4).await, [0x82, 126, 1, 44]);
        assert_eq!(written(&mut client, 300).await, [7; 300]);
        assert_eq!(written(&mut client, 10).await, [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        assert_eq!(written(&mut client, 70_000).await, vec![8; 70_000]);
        assert_eq!(written(&mut client, 6).await, [0x88, 4, 0x0f, 0xa0, b's', b'o']);
        assert_eq!(now(client.read_u8()).map(|read| read.is_err()), None, "it is still open");
    });
}

#[test]
fn a_silent_connection_has_no_buffers() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (mut reader, mut writer) = split(server, 100_000);
        for length in [1, 100, 5_000, 50_000] {
            writer.send(Outgoing::Binary(vec![7; length].into())).await.unwrap();
            client.write_all(&frame(0x82, b"x")).await.unwrap();
            client.write_all(&frame(0x89, b"x")).await.unwrap();
            for _ in 0..2 {
                reader.next().await.unwrap();
            }
            assert!(now(reader.next()).is_none());
            let wire = reader.0.lock();
            assert_eq!((wire.out.capacity(), wire.tail.len()), (0, 0));
        }
    });
}

#[test]
fn only_the_last_ping_is_answered_to_who_does_not_read() {
    run(async {
        let (mut client, server) = tokio::io::duplex(16);
        let (mut reader, mut writer) = split(server, 1_000);
        writer.feed(Outgoing::Text("a long text, longer than the pipe".into())).await.unwrap();
        assert!(now(writer.flush()).is_none(), "the client does not read");
        for number in b'0'..=b'9' {
            client.write_all(&frame(0x89, &[number])).await.unwrap();
            assert_eq!(reader.next().await, Some(Incoming::Heartbeat));
        }
        let read = tokio::spawn(async move { written(&mut client, 2 + 33 + 3).await });
        // Nobody but the reader goes on, until the client is gone.
        while let Some(incoming) = reader.next().await {
            assert_eq!(incoming, Incoming::Heartbeat);
        }
        let bytes = read.await.unwrap();
        assert!(bytes.ends_with(b"\x8a\x019"), "{bytes:?}");
    });
}

#[test]
fn a_client_that_reads_slowly_is_there() {
    run(async {
        let (mut client, server) = tokio::io::duplex(100);
        let (mut reader, mut writer) = split(server, 1_000);
        writer.feed(Outgoing::Binary(vec![7; 10_000].into())).await.unwrap();
        assert!(now(writer.flush()).is_none());
        assert_eq!(now(reader.next()), Some(Some(Incoming::Heartbeat)), "a part is on its way");
        for _ in 0..10 {
            assert_eq!(now(reader.next()), None, "nothing has moved");
            client.read_exact(&mut [0; 50]).await.unwrap();
            assert_eq!(now(reader.next()), Some(Some(Incoming::Heartbeat)));
        }
    });
}

#[test]
fn nothing_is_written_behind_the_close_frame() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1_000);
        let (mut reader, mut writer) = split(server, 1_000);
        writer.send(close(4000, "")).await.unwrap();
        client.write_all(&frame(0x89, b"late")).await.unwrap();
        client.write_all(&frame(0x88, &4000_u16.to_be_bytes())).await.unwrap();
        assert_eq!(reader.next().await, Some(Incoming::Heartbeat));
        assert!(matches!(reader.next().await, Some(Incoming::Close(_))));
        // And the connection ends, since both have closed.
        assert!(now(reader.next()).is_none());
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0x88, 2, 0x0f, 0xa0]);
    });
}

#[test]
fn who_breaks_the_protocol_is_told_and_read_to_the_end() {
    run(async {
        let (mut client, server) = tokio::io::duplex(64);
        let (mut reader, mut writer) = split(server, 1_000);
        let sending = tokio::spawn(async move {
            client.write_all(&[0x81, 1, b'x']).await.unwrap();
            // It has much more to say before it listens.
            for _ in 0..1_000 {
                client.write_all(&frame(0x81, b"ignored")).await.unwrap();
            }
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            read
        });
        assert!(matches!(reader.next().await, Some(Incoming::Invalid { code: 1002, .. })));
        writer.send(close(1002, "")).await.unwrap();
        assert_eq!(reader.next().await, None);
        assert_eq!(sending.await.unwrap(), [0x88, 2, 0x03, 0xea]);
    });
}

/// Counts what is read and written.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(task, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(task)
    }
}

proptest! {
    /// Whatever a client sends, and in whatever pieces: the connection ends when the client's side does, having been
    /// read and written no more often than there was something to do.
    #[test]
    fn a_connection_ends_with_its_client(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..500),
            vec(prop_oneof![
                vec(any::<u8>(), 0..60).prop_map(|payload| frame(0x82, &payload)),
                vec(any::<u8>(), 0..60).prop_map(|payload| frame(0x89, &payload)),
                Just(frame(0x02, b"x")),
                Just(frame(0x80, b"x")),
                Just(frame(0x88, b"")),
            ], 0..20).prop_map(|frames| frames.concat()),
        ],
        pieces in vec(1..40_usize, 1..6),
        pipe in 1..100_usize,
        reads: bool,
    ) {
        let operations = Arc::<AtomicUsize>::default();
        let length = bytes.len();
        run(async {
            let (client, server) = tokio::io::duplex(pipe);
            let (mut reader, mut writer) = split(Counted(server, Arc::clone(&operations)), 100);
            let (mut from_server, mut to_server) = tokio::io::split(client);
            let sending = tokio::spawn(async move {
                let (mut rest, mut pieces) = (&bytes[..], pieces.iter().cycle());
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
                    rest = after;
                    if to_server.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                to_server.shutdown().await.unwrap();
            });
            let reading = tokio::spawn(async move {
                if reads {
                    tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await.unwrap();
                } else {
                    std::future::pending::<()>().await;
                }
            });
            // As the driver does: what is over is answered, and everything else read.
            while let Some(incoming) = reader.next().await {
                if let Incoming::Close(_) | Incoming::Invalid { .. } = incoming {
                    writer.feed(close(1000, "")).await.unwrap();
                    let _ = now(writer.flush());
                }
            }
            sending.await.unwrap();
            reading.abort();
        });
        let operations = operations.load(Ordering::Relaxed);
        prop_assert!(operations <= 20 * (length + 10), "{} for {} bytes", operations, length);
    }
}

#[test]
fn a_reader_that_waits_is_woken() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1_000);
        let (mut reader, _writer) = split(server, 1_000);
        let reading =
            tokio::spawn(async move { poll_fn(|task| reader.poll_next_unpin(task)).await });
        tokio::task::yield_now().await;
        client.write_all(&frame(0x89, b"")).await.unwrap();
        assert_eq!(reading.await.unwrap(), Some(Incoming::Heartbeat));
    });
}
