//! Objects as files, byte by byte.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use durable_runtime::admin::{Admin, Spool, StateAt, Taken};
use durable_runtime::{Error, ErrorKind};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::peer::Peer;
use crate::routes::{has_type, read, refused, rejected, wrong_type};

/// What an export says of the file, in JSON.
pub(crate) const EXPORTED_HEADER: &str = "durable-exported";

/// The type of a file.
pub(crate) const FILE_TYPE: &str = "application/vnd.sqlite3";

/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1_024;

/// Asks for an object as a file: `POST` it to `/v1/export`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Export {
    /// The object.
    pub object: String,
    /// In which state.
    #[serde(default)]
    pub at: StateAt,
}

/// Says of which object a file is to become the first commit: the query of a `POST` of the file to `/v1/import`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Import {
    /// The object. It must not exist.
    pub object: String,
}

pub(crate) async fn export(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let Export { object, at } = read(&headers, body)?;
        let taken = admin.take(&object, at).await.map_err(|error| refused(&error))?;
        let file = File::open(taken.path()).await.map_err(|error| failed("read", &error))?;
        Ok::<_, Response>((
            taken.exported,
            FileBody { file, left: taken.exported.bytes, _taken: taken },
        ))
    };
    match answer.await {
        Ok((exported, file)) => {
            let said = serde_json::to_string(&exported).unwrap_or_default();
            (
                [(CONTENT_TYPE.as_str(), FILE_TYPE.to_owned()), (EXPORTED_HEADER, said)],
                Body::new(file),
            )
                .into_response()
        }
        Err(response) => response,
    }
}

pub(crate) async fn import(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    query: Result<Query<Import>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !has_type(&headers, FILE_TYPE) {
        return wrong_type(FILE_TYPE);
    }
    let Query(Import { object }) = match query {
        Ok(query) => query,
        Err(error) => return rejected(error.status(), error.body_text()),
    };
    let imported = async {
        let spool = admin.spool().await?;
        store(&spool, body).await?;
        admin.import(&object, spool.path(), &peer.to_string()).await
    };
    match imported.await {
        Ok(imported) => Json(imported).into_response(),
        Err(error) => refused(&error),
    }
}

async fn store(spool: &Spool, mut body: Body) -> durable_runtime::Result<()> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Storage, format!("what came in cannot be stored: {error}"))
    };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = File::from_std(options.open(spool.path()).map_err(failed)?);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Error::new(ErrorKind::Disconnected, format!("the file broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        if bytes > spool.bytes_max {
            let text = format!(
                "the file has more than the {} bytes that a database may have",
                spool.bytes_max
            );
            return Err(Error::new(ErrorKind::Limit, text));
        }
        file.write_all(&data).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

fn failed(what: &str, error: &io::Error) -> Response {
    refused(&Error::new(ErrorKind::Storage, format!("cannot {what} the copy: {error}")))
}

/// A file that is sent, and the copy that it is.
#[derive(Debug)]
struct FileBody {
    file: File,
    left: u64,
    _taken: Taken,
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.file).poll_read(task, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        chunk.truncate(read);
        self.left -= read as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
