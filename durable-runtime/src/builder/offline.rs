//! A data directory that only an operator looks at.

use std::path::Path;
#[cfg(feature = "admin")]
use std::path::PathBuf;

use super::Builder;
use crate::engine::HistoryLimits;
#[cfg(feature = "admin")]
use crate::node::Node;
#[cfg(feature = "admin")]
use crate::{Error, ErrorKind, Result};

impl Builder {
    /// Opens a data directory for an operator, without classes and without waking anybody.
    #[cfg(feature = "admin")]
    pub(crate) async fn open_offline(mut self) -> Result<(Node, PathBuf)> {
        let executor = tokio::runtime::Handle::try_current().map_err(|_| {
            Error::new(ErrorKind::Invalid, "a data directory is opened inside a tokio runtime")
        })?;
        self.is_offline = true;
        let open = executor.spawn_blocking(move || self.open()).await;
        let (settings, opened, path) = open.map_err(|error| {
            Error::new(
                ErrorKind::Storage,
                format!("opening the data directory was given up: {error}"),
            )
        })??;
        Ok((Node::new(settings, opened.engine, opened.classes, executor), path))
    }

    /// How much past is kept. Nobody who only looks may take any away, nor begin one.
    pub(super) fn history_limits(&self, directory: &Path) -> HistoryLimits {
        if self.is_offline {
            let files = std::fs::read_dir(directory.join("history"));
            let keeps = files.is_ok_and(|mut files| files.next().is_some());
            return if keeps { HistoryLimits::ALL } else { HistoryLimits::OFF };
        }
        let bytes = self.history_bytes.unwrap_or_else(|| {
            // A file system that does not say how large it is does not limit it either.
            let disk = rustix::fs::statvfs(directory);
            let tenth =
                disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize) / 10);
            HistoryLimits::default().bytes.min(tenth)
        });
        HistoryLimits { bytes, ..self.writing.history }
    }
}
