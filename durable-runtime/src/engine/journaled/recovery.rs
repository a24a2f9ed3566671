//! Recovery: files are brought up to the journal's last durable record before anybody may write.
//!
//! The guarantee: afterwards every object's file is complete and holds exactly its last durable commit; only then
//! does the journal let its old segments go. A crash on the way finds them again and starts over.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::engine::ObjectKey;
use crate::engine::files::{Disk, FilesystemSync};
use crate::engine::journal::{NewGeneration, Options};
use crate::engine::overlay::{Page, Snapshot};
use crate::engine::pagestore::{FilePerObject, PageStore, Stamp};
use crate::engine::scan::{self, Found, ScanReport, Visitor};
use crate::{Error, ErrorKind, Result};

/// Replays the journal of a data directory, if there is one. What it gives back may admit appends.
pub(super) fn recover(
    data: &Path,
    objects: &Path,
    disk: &Arc<dyn Disk>,
    options: Options,
) -> Result<NewGeneration> {
    let folder = data.join("journal");
    let mut replay = Replay::default();
    let report = scan::scan(&**disk, &folder, &mut replay)?;
    refuse_damage(&folder, &report)?;
    let generation = NewGeneration::start(Arc::clone(disk), &folder, options, &report)?;
    replay.write_back(objects, disk)?;
    Ok(generation)
}

/// A journal with a hole is left alone: what lies behind the hole may be the only copy of somebody's data.
fn refuse_damage(folder: &Path, report: &ScanReport) -> Result<()> {
    if report.is_sound() {
        return Ok(());
    }
    let objects: Vec<String> = report
        .affected
        .iter()
        .map(|lost| match lost.missing {
            Some(commit) => format!("{} from commit {commit} on", lost.object),
            None => lost.object.to_string(),
        })
        .collect();
    let affected = if objects.is_empty() { "not known".to_owned() } else { objects.join(", ") };
    Err(Error::new(
        ErrorKind::Storage,
        format!(
            "the journal in {} is damaged, and nothing was changed; objects affected: {affected}",
            folder.display()
        ),
    ))
}

/// What the journal says about the objects whose files may lag behind.
#[derive(Default)]
struct Replay {
    objects: HashMap<ObjectKey, Replayed>,
}

#[derive(Default)]
struct Replayed {
    pages: BTreeMap<u32, Page>,
    size: u32,
    stamp: Stamp,
}

impl Visitor for Replay {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        tracing::info!(done_bytes, total_bytes, "replaying the journal");
    }

    /// Applies one commit.
    fn commit(&mut self, found: &Found<'_>) -> Result<()> {
        let record = &found.record;
        let key = ObjectKey { class: record.head.class.into(), id: record.head.id };
        let object = self.objects.entry(key.clone()).or_default();
        for entry in record.pages() {
            let previous = object.pages.get(&entry.number);
            let image = entry.change.image(previous.map(|page| &**page)).ok_or_else(|| {
                Error::new(
                    ErrorKind::Storage,
                    format!(
                        "the journal is damaged: commit {} of {key} changes page {}, whose image before is missing",
                        record.head.number, entry.number
                    ),
                )
            })?;
            object.pages.insert(entry.number, Arc::new(image));
        }
        object.size = record.database_pages;
        object.pages.split_off(&object.size.saturating_add(1));
        object.stamp = Stamp { commit: record.head.number, epoch: record.head.epoch };
        Ok(())
    }
}

impl Replay {
    /// Writes every replayed page to its file, and makes all of them durable.
    fn write_back(self, root: &Path, disk: &Arc<dyn Disk>) -> Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let failed = |key: &ObjectKey, error: std::io::Error| {
            Error::new(ErrorKind::Storage, format!("cannot write the file of {key}: {error}"))
        };
        let mut written = Vec::with_capacity(self.objects.len());
        for (key, object) in self.objects {
            let store = FilePerObject::new(Arc::clone(disk), root, &key);
            let snapshot =
                Snapshot { pages: object.pages.into_iter().collect(), size: object.size };
            store.write(&snapshot, object.stamp).map_err(|error| failed(&key, error))?;
            // One descriptor at a time.
            store.release();
            written.push((key, store));
        }
        tracing::info!(objects = written.len(), "brought files up to date from the journal");
        match disk.sync_filesystem(root) {
            Ok(FilesystemSync::Done) => Ok(()),
            Ok(FilesystemSync::Unsupported) => written.iter().try_for_each(|(key, store)| {
                store.sync().map_err(|error| failed(key, error))?;
                store.release();
                Ok(())
            }),
            Err(error) => Err(Error::new(
                ErrorKind::Storage,
                format!("cannot sync the files in {}: {error}", root.display()),
            )),
        }
    }
}
