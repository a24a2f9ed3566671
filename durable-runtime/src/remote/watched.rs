//! A connection that says when it was last of use.
//!
//! Bytes count and not messages: a large value on a slow line takes its time, and its sender is there. What is written counts only where it had
//! to wait: anything else may still lie in a buffer of the system's, whether or not the peer is there.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// When bytes last came or went.
#[derive(Clone, Debug)]
pub struct Progress {
    begun: Instant,
    /// Milliseconds after that.
    last: Arc<AtomicU64>,
}

impl Progress {
    fn begin() -> Self {
        Progress { begun: Instant::now(), last: Arc::default() }
    }

    fn note(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// How long nothing has come or gone.
    pub fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last)
    }
}

/// A stream of bytes whose [`Progress`] others can see.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    progress: Progress,
    /// What was to be written had to wait.
    is_blocked: bool,
}

impl<S> Watched<S> {
    /// Watches a stream.
    pub fn new(stream: S) -> Self {
        Watched { stream, progress: Progress::begin(), is_blocked: false }
    }

    /// When bytes last came or went.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(task, buffer);
        if polled.is_ready() {
            self.progress.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(task, bytes);
        let was_blocked = std::mem::replace(&mut self.is_blocked, polled.is_pending());
        if was_blocked && polled.is_ready() {
            self.progress.note();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
