//! Making the list of all objects, and of those to be woken, anew from their files, after it was lost.
//!
//! It is done at the start, when all files are complete and nobody changes them, and only then: a directory with
//! a million objects takes a minute or two longer to start, once. Meanwhile the log says how far it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::catalogue::{ObjectIndex, Row};
use crate::engine::directory::io_error;
use crate::engine::files::Disk;
use crate::engine::meta::{Absent, Meta, read_wake};
use crate::engine::overlay::Overlay;
use crate::engine::pagestore::{FilePerObject, PageStore, object_at};
use crate::engine::vfs::{ObjectFile, Vfs, open_connection};
use crate::engine::wakes::Wake;
use crate::engine::{About, Configure, ObjectKey, sqlite};
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

/// How many rows are written at once.
const BATCH: usize = 1_000;

/// Fills the index with all objects that have a file, if it was lost.
///
/// # Errors
/// When a folder cannot be read, or the index fails. An object whose file cannot be read gets a row without a name.
pub(super) fn rebuild_if_lost(
    index: &dyn ObjectIndex,
    disk: &Arc<dyn Disk>,
    root: &Path,
    vfs: &Arc<Vfs>,
) -> Result<()> {
    if !index.is_lost() {
        return Ok(());
    }
    let (mut rows, mut wakes) = (Vec::new(), Vec::new());
    let mut objects = 0_u64;
    for class in list(disk, root)? {
        for shard in list(disk, &class)? {
            let keys = list(disk, &shard)?.into_iter().filter_map(|path| object_at(root, &path));
            for key in keys {
                let (row, wake) = row(disk, root, vfs, &key);
                if wake != Wake::default() {
                    wakes.push((key.clone(), wake));
                }
                rows.push((key, row));
                objects += 1;
                if rows.len() == BATCH {
                    index.store(&rows)?;
                    index.write(&wakes)?;
                    rows.clear();
                    wakes.clear();
                    note!(info, objects, "making the catalogue anew from the objects' files");
                }
            }
        }
    }
    index.store(&rows)?;
    index.write(&wakes)?;
    index.set_complete()?;
    if objects > 0 {
        note!(warn, objects, "the catalogue was lost and has been made anew");
    }
    Ok(())
}

/// What is in a folder; nothing if there is none, or if it is a stranger's file.
fn list(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Vec<PathBuf>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match disk.list(folder) {
        Err(error) if matches!(error.kind(), NotADirectory | NotFound) => Ok(Vec::new()),
        other => other.map_err(|error| io_error("list", folder, &error)),
    }
}

fn row(disk: &Arc<dyn Disk>, root: &Path, vfs: &Arc<Vfs>, key: &ObjectKey) -> (Row, Wake) {
    let store = FilePerObject::new(Arc::clone(disk), root, key);
    let mut wake = Wake::default();
    let mut row = Row { stamp: store.stamp().unwrap_or_default(), ..Row::default() };
    row.header = store.header().unwrap_or_default();
    match read_meta(store, vfs) {
        Ok((meta, known)) if meta.is_of(key) => {
            wake = known;
            row.created_ms = Some(meta.created_ms);
            row.about = About { name: meta.name.map(Arc::from), location_hint: meta.location_hint };
        }
        Ok(_) => note!(warn, class = %key.class, id = %key.id, "the file holds another object"),
        Err(error) => {
            note!(warn, class = %key.class, id = %key.id, reason = %error, "the file does not say who it is");
        }
    }
    (row, wake)
}

/// Who the object is, and when it wants to be woken.
fn read_meta(store: FilePerObject, vfs: &Arc<Vfs>) -> Result<(Meta, Wake)> {
    let failed = |error| Error::new(ErrorKind::Storage, error);
    let size = store.size().map_err(failed)?;
    let file = ObjectFile::with_overlay(vfs, Arc::new(store), Overlay::of_file(size));
    let nothing: Configure = Arc::new(|_| Ok(()));
    let connection = open_connection(&Arc::new(file), &nothing)?;
    let meta = Meta::read(&connection).map_err(sqlite::error)?.ok_or_else(nameless)?;
    Ok((meta, read_wake(&connection, &mut Absent::default()).map_err(sqlite::error)?))
}

fn nameless() -> Error {
    Error::new(ErrorKind::Storage, "its `_durable_meta` is empty")
}
