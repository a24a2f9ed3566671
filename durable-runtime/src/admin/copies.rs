//! Objects as files, and objects made of others.
//!
//! A file is no answer in JSON, so exports and imports are methods of [`Admin`] and not operations. A server hands a [copy](Admin::take) out
//! byte by byte.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Admin, Found, Moment, Operation};
use crate::copying::{self, RawSnapshot, Source, Target, bytes_of};
use crate::engine::{Copied, CopyFile, Point};
use crate::instance::operate::Aftermath;
use crate::observe::events::note;
use crate::storage::Store;
use crate::{Bookmark, Error, ErrorKind, Progress, Result};

/// Which of its states an object is copied in: at a bookmark, at a time, or, with neither, as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateAt {
    /// As it was at this bookmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Bookmark>,
    /// As it was at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Moment>,
}

/// An object that was written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exported {
    /// The state that the file holds.
    pub bookmark: Bookmark,
    /// The size of the file.
    pub bytes: u64,
    /// The number of the last migration that the object had had.
    pub schema_version: u32,
}

impl Exported {
    fn new(found: &Found, copied: &Copied) -> Exported {
        Exported {
            bookmark: Bookmark::new(found.key.id, copied.point),
            bytes: bytes_of(copied),
            schema_version: copied.header.schema_version,
        }
    }
}

/// An object that was made of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Imported {
    /// The object, as it can be named.
    pub object: String,
}

/// A copy of an object, a SQLite database in the data directory, which is removed when this is dropped.
#[derive(Debug)]
pub struct Taken {
    snapshot: RawSnapshot,
    /// What it holds.
    pub exported: Exported,
}

impl Taken {
    /// Its file, to be read only.
    pub fn path(&self) -> &Path {
        self.snapshot.path()
    }
}

/// A file in the data directory for what comes in, byte by byte, until it can be [imported](Admin::import). It is removed when this
/// is dropped.
#[derive(Debug)]
pub struct Spool {
    file: CopyFile,
    /// How many bytes it may get.
    pub bytes_max: u64,
}

impl Spool {
    /// The file. It is not there before somebody makes it.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Makes an object of another one of its class: see [`Namespace::fork`](crate::Namespace::fork).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fork {
    /// The object that is copied.
    pub object: String,
    /// The object that is made. It must not exist.
    pub to: String,
    /// In which state.
    #[serde(default)]
    pub at: StateAt,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forked {
    /// The object that was made, as it can be named.
    pub object: String,
}

impl Operation for Fork {
    const NAME: &'static str = "fork";
    type Reply = Forked;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.to
    }

    async fn run(self, admin: &Admin) -> Result<Forked> {
        let (from, to) = (admin.find(&self.object).await?, admin.find(&self.to).await?);
        if from.key.class != to.key.class {
            let text = format!(
                "{from} and {to} are of different classes: an object is made of one of its class"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let at = admin.point(&from, self.at).await?;
        let source = Source { at, report: None };
        let target = admin.target(&to);
        let forked = copying::fork(&admin.node, from.key.clone(), source, target).await;
        forked.map_err(|error| from.explain(error))?;
        Ok(Forked { object: to.to_string() })
    }
}

impl Admin {
    /// Writes an object to a file, which must not be there: see [`Namespace::export`](crate::Namespace::export). `report` is told how far it is.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::NotFound`] when there is no such object.
    pub async fn export(
        &self,
        object: &str,
        at: StateAt,
        path: impl Into<PathBuf>,
        report: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Exported> {
        let found = self.find(object).await?;
        let source = Source { at: self.point(&found, at).await?, report: Some(Box::new(report)) };
        let copied = copying::export(&self.node, found.key.clone(), source, path.into()).await;
        Ok(Exported::new(&found, &copied.map_err(|error| found.explain(error))?))
    }

    /// Takes a copy of an object, which lasts as long as the result.
    ///
    /// # Errors
    /// As [`export`](Admin::export).
    pub async fn take(&self, object: &str, at: StateAt) -> Result<Taken> {
        let found = self.find(object).await?;
        let source = Source { at: self.point(&found, at).await?, report: None };
        let snapshot = copying::snapshot(&self.node, found.key.clone(), source).await;
        let snapshot = snapshot.map_err(|error| found.explain(error))?;
        let exported = Exported::new(&found, &snapshot.copied);
        Ok(Taken { snapshot, exported })
    }

    /// Makes an object of a SQLite file: see [`Namespace::import`](crate::Namespace::import). This is logged, with `who` it was.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Refused`] where the class's code is not there, whose migrations are tried.
    pub async fn import(
        &self,
        object: &str,
        path: impl Into<PathBuf>,
        who: &str,
    ) -> Result<Imported> {
        let (operation, path) = ("import", path.into());
        note!(warn, who, operation, object, "an operator changes something");
        let imported = self.import_file(object, path).await;
        if let Err(error) = &imported {
            note!(warn, who, operation, object, reason = %error, "what an operator asked for has failed");
        }
        imported
    }

    /// A file for what is to be imported.
    ///
    /// # Errors
    /// When the runtime is shut down, or the disk fails.
    pub async fn spool(&self) -> Result<Spool> {
        let file = self.node.with_engine(|engine| engine.copies()?.new_file()).await?;
        Ok(Spool { file, bytes_max: self.node.settings.limits.database_bytes })
    }

    async fn import_file(&self, object: &str, path: PathBuf) -> Result<Imported> {
        let found = self.find(object).await?;
        self.check_runs(&found.class, &found.key.class, "importing, which tries migrations,")?;
        copying::import(&self.node, path, self.target(&found)).await?;
        Ok(Imported { object: found.to_string() })
    }

    fn target(&self, found: &Found) -> Target {
        let name = found.name.clone();
        match self.node.class_of(&found.key.class) {
            Some(class) => Target::new(class, found.key.id, name),
            None => Target::of_stranger(found.key.clone(), name),
        }
    }

    /// The commit of an object that is meant; none if it is the last one.
    async fn point(&self, found: &Found, at: StateAt) -> Result<Option<Point>> {
        match (at.bookmark, at.time) {
            (None, None) => {
                // Said in the operator's words.
                let known = self.known(&found.key).await?;
                known.map(|_| None).ok_or_else(|| found.missing())
            }
            (Some(bookmark), None) => bookmark.point_of(found.key.id).map(Some),
            (None, Some(time)) => {
                let time_ms = time.as_millis();
                let look = move |store: &mut Store| (store.point_at(time_ms), Aftermath::Nothing);
                self.visit(&found.key, look).await.map(Some)
            }
            (Some(_), Some(_)) => {
                let text = "an object is copied either at a bookmark or at a time";
                Err(Error::new(ErrorKind::Invalid, text))
            }
        }
    }
}
