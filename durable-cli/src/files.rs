//! Files that come from a program and go to one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use durable_runtime::{Error, ErrorKind, Result};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::progress::Progress;

/// Bytes that are sent at a time.
const CHUNK: usize = 64 * 1_024;

/// A file that is not there before it is whole, and only its owner's.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    hidden: PathBuf,
    file: File,
}

impl NewFile {
    /// # Errors
    /// [`ErrorKind::Exists`] when there is a file of that name; and when it cannot be made.
    pub(crate) fn create(path: &Path) -> Result<NewFile> {
        let Some(name) = path.file_name() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} names no file", path.display()),
            ));
        };
        if path.symlink_metadata().is_ok() {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("{} is there already", path.display()),
            ));
        }
        let name = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
        let hidden = path.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&hidden);
        let file = file.map_err(|error| failed(path, &error))?;
        Ok(NewFile { path: path.to_owned(), hidden, file })
    }

    pub(crate) fn write(&self, data: &[u8]) -> Result<()> {
        (&self.file).write_all(data).map_err(|error| failed(&self.path, &error))
    }

    /// It is whole: gives it its name.
    pub(crate) fn keep(self) -> Result<()> {
        // Not a renaming, which would take the place of a file that has come meanwhile.
        let kept = self.file.sync_all().and_then(|()| fs::hard_link(&self.hidden, &self.path));
        kept.map_err(|error| failed(&self.path, &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.hidden);
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::AlreadyExists => ErrorKind::Exists,
        _ => ErrorKind::Storage,
    };
    Error::new(kind, format!("cannot write {}: {error}", path.display()))
}

/// A file that is sent.
#[derive(Debug)]
pub(crate) struct Sent {
    file: File,
    left: u64,
    total: u64,
    bar: Progress,
}

impl Sent {
    /// # Errors
    /// When the file cannot be read, or does not hold everything: what is in a log beside it is not sent.
    pub(crate) fn open(path: &Path, bar: Progress) -> Result<Sent> {
        let unreadable = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::NotFound {
                ErrorKind::NotFound
            } else {
                ErrorKind::Storage
            };
            Error::new(kind, format!("cannot read {}: {error}", path.display()))
        };
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            let text = format!(
                "{} has a log beside it, which would be left behind: put it into the file, with \
                 `sqlite3 {} 'PRAGMA wal_checkpoint(TRUNCATE)'`",
                path.display(),
                path.display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let file = File::open(path).map_err(unreadable)?;
        let total = file.metadata().map_err(unreadable)?.len();
        Ok(Sent { file, left: total, total, bar })
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
        // Waits for the disk: nothing else is to be done meanwhile.
        let read = self.file.read(&mut chunk)?;
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        chunk.truncate(read);
        self.left -= read as u64;
        self.bar.show("bytes", self.total - self.left, self.total);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
