//! The body of a request or a response: bytes that are here, or a stream of them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{Error, ErrorKind, Result};

/// The largest body that is read into memory for a sync handler: 32 MiB.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The body of a [`Request`](crate::Request) or a [`Response`](crate::Response).
///
/// Made from anything that is bytes (`From`), or from a stream with [`Body::new`]. In a sync
/// `fetch` handler a request's body is in memory already: see [`Body::bytes`].
///
/// ```
/// use durable_runtime::Body;
///
/// let body = Body::from("hello");
/// assert_eq!(body.bytes().map(|bytes| &bytes[..]), Some(&b"hello"[..]));
/// ```
#[derive(Default)]
pub struct Body(Inner);

enum Inner {
    Full(Bytes),
    Stream(UnsyncBoxBody<Bytes, Error>),
}

impl Default for Inner {
    fn default() -> Self {
        Inner::Full(Bytes::new())
    }
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Body::default()
    }

    /// A streamed body.
    pub fn new<B>(stream: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: fmt::Display,
    {
        Body(Inner::Stream(stream.map_err(Error::other).boxed_unsync()))
    }

    /// The bytes, if they are all in memory. `None` for a stream.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Full(bytes) => Some(bytes),
            Inner::Stream(_) => None,
        }
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when it has more than `bytes_max` bytes; whatever the stream says
    /// when it breaks.
    pub async fn collect_up_to(self, bytes_max: usize) -> Result<Bytes> {
        let too_large =
            || Error::new(ErrorKind::Limit, format!("the body is over {bytes_max} bytes"));
        match self.0 {
            Inner::Full(bytes) if bytes.len() > bytes_max => Err(too_large()),
            Inner::Full(bytes) => Ok(bytes),
            Inner::Stream(stream) => match Limited::new(stream, bytes_max).collect().await {
                Ok(collected) => Ok(collected.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
                Err(error) => Err(Error::other(error)),
            },
        }
    }
}

macro_rules! from_bytes {
    ($($type:ty),+) => {
        $(impl From<$type> for Body {
            fn from(bytes: $type) -> Self {
                Body(Inner::Full(Bytes::from(bytes)))
            }
        })+
    };
}

from_bytes!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Inner::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(stream) => Pin::new(stream).poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}
