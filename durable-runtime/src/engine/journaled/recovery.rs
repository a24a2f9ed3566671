//! Recovery: files are brought up to the journal's last durable record before anybody may write.
//!
//! The guarantee: afterwards every object's file is complete and holds exactly its last durable commit; only then
//! does the journal let its old segments go. A crash on the way finds them again and starts over.
//! Objects that lost commits to a damage are left as they are: see [`quarantine`](super::quarantine).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::quarantine::Quarantine;
use crate::engine::catalogue::{ObjectIndex, Row};
use crate::engine::copies;
use crate::engine::directory::io_error;
use crate::engine::files::{Disk, FilesystemSync};
use crate::engine::history::{History, Pages, Point, Unmarked, WriteBack};
use crate::engine::journal::{NewGeneration, Options};
use crate::engine::overlay::{Page, Snapshot};
use crate::engine::pagestore::{FilePerObject, Header, PageStore, Stamp, object_path};
use crate::engine::scan::{self, Affected, Found, ScanReport, Visitor};
use crate::engine::wakes::Wake;
use crate::engine::{About, ObjectKey};
use crate::id::RawId;
use crate::observe::events::note;
use crate::{Error, ErrorKind, Result};

/// How often the log says how far recovery is: after so many bytes of journal, and after so many files.
const TOLD_BYTES: u64 = 16 * 1_024 * 1_024;
const TOLD_FILES: usize = 1_000;
/// So many files are open at once while the history learns what they hold.
const FILES_AT_ONCE: usize = if cfg!(test) { 8 } else { 256 };

/// What to do about damage of which nobody can say whose commits it hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDamage {
    /// Nothing is opened, and nothing is changed.
    Refuse,
    /// What was found is used.
    Accept,
}

/// What recovery gives back: a journal that may admit appends, and the objects that may not be opened.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) generation: NewGeneration,
    pub(super) quarantine: Quarantine,
}

/// Replays the journal of a data directory, if there is one. The history, with the time, learns what it holds.
pub(super) fn recover(
    data: &Path,
    disk: &Arc<dyn Disk>,
    options: Options,
    on_damage: OnDamage,
    index: &dyn ObjectIndex,
    history: Option<(&History, i64)>,
) -> Result<Recovered> {
    let (folder, objects) = (data.join("journal"), data.join("objects"));
    let mut quarantine = Quarantine::load(&**disk, &folder)?;
    let mut replay = Replay::default();
    let found = scan::scan(&**disk, &folder, &mut replay)?;
    let adopted = replay.adopted(data, &**disk)?;
    let lost = replay.take_lost(&found.affected, &quarantine, &objects, disk)?;
    let mut aside = None;
    if !found.is_sound() || !lost.is_empty() {
        if !found.is_attributed() && on_damage == OnDamage::Refuse {
            return Err(refused(&folder, &lost));
        }
        let file = quarantine.keep(&**disk, &folder, &found, &lost)?;
        tell(&found, &lost, &file);
        aside = file.parent().map(Path::to_owned);
    }
    let claimed: HashSet<_> = adopted.iter().map(|(_, path)| path.clone()).collect();
    copies::clear(&**disk, &copies::folder_of(data), &claimed, aside.as_deref())?;
    replay.settle(&adopted, &objects, disk)?;
    if !quarantine.objects.is_empty() {
        let objects = quarantine.objects.len();
        note!(error, objects, "objects are in quarantine and stay closed: their calls say why");
    }
    let generation = NewGeneration::start(Arc::clone(disk), &folder, options, &found)?;
    let (rows, wakes) = (replay.rows(), replay.wakes());
    if let Some((history, now_ms)) = history {
        history.set_copied(found.redo);
        history.copy_commits(found.end, now_ms);
        replay.keep_before(&objects, disk, history, now_ms);
        history.sync(now_ms);
    }
    replay.write_back(&objects, disk)?;
    if let Some((history, now_ms)) = history {
        history.mark(history.reach(), now_ms);
    }
    index.store(&rows)?;
    index.write(&wakes)?;
    Ok(Recovered { generation, quarantine })
}

/// A journal with a hole is left alone: what lies behind the hole may be the only copy of somebody's data.
fn refused(folder: &Path, lost: &[Affected]) -> Error {
    let objects: Vec<String> = lost.iter().map(Affected::to_string).collect();
    let affected = if objects.is_empty() { "not known".to_owned() } else { objects.join(", ") };
    Error::new(
        ErrorKind::Storage,
        format!(
            "the journal in {} is damaged, and nothing was changed; objects affected: {affected}; others may have lost \
             commits, too, and nobody can say which: put the directory back from a copy, or start once with \
             `Builder::accept_damage(true)` to go on with what is left",
            folder.display()
        ),
    )
}

/// The log is where an operator looks first.
fn tell(found: &ScanReport, lost: &[Affected], file: &Path) {
    for damage in &found.damage {
        let (from, to) = (damage.from, damage.to);
        let others = if damage.is_attributed { "none" } else { "not known" };
        note!(
            error,
            ?from,
            ?to,
            others,
            "the journal is damaged: commits of some objects are lost"
        );
    }
    for lost in lost {
        let (object, missing) = (&lost.object, lost.missing);
        note!(error, class = %object.class, id = %object.id, missing, file = %file.display(), "an object has lost commits and stays closed");
    }
}

/// What the journal says about the objects whose files may lag behind.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) objects: HashMap<ObjectKey, Replayed>,
    /// How far the log says that it is.
    told_bytes: u64,
}

/// What the journal says about one object.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) pages: BTreeMap<u32, Page>,
    pub(crate) size: u32,
    /// The last commit.
    pub(crate) stamp: Stamp,
    /// What the list of objects is to know.
    about: About,
    created_ms: Option<i64>,
    /// What the commits have done to its time, all in all.
    wake: Option<Wake>,
    pub(crate) is_deleted: bool,
    /// The commit with which it was last created from a file. It may have been deleted since.
    pub(crate) adopted: Option<Stamp>,
    /// What that file says of itself.
    header: Option<Header>,
    /// The first commit that counts, and whether it stands by itself: what was before a creation or a deletion
    /// does not matter.
    pub(crate) first: Stamp,
    pub(crate) stands_alone: bool,
    /// Pages that were changed and whose image before is missing, and by which commit.
    lacking: BTreeMap<u32, u64>,
}

impl Replayed {
    /// The first commit that cannot be applied, since the journal lacks what it builds on.
    pub(crate) fn lacks(&self) -> Option<u64> {
        self.lacking.values().min().copied()
    }

    /// The commits of the object that neither its file nor the journal has: the first of them, if there are any.
    ///
    /// The file may be ahead of the first commit here, since an object is also written back between checkpoints. It
    /// is never ahead of the last one.
    pub(crate) fn gap(&self, file: Stamp) -> Option<u64> {
        // Nothing stands for the file with which it begins.
        if self.begins_with_file() && Point::from(file) < self.first.into() {
            return Some(self.first.commit);
        }
        let is_next = file.commit.saturating_add(1) >= self.first.commit;
        if !self.stands_alone && (file.epoch < self.first.epoch || !is_next) {
            return Some(file.commit + 1);
        }
        let is_ahead = (file.epoch, file.commit) > (self.stamp.epoch, self.stamp.commit);
        is_ahead.then(|| self.stamp.commit.saturating_add(1))
    }
}

impl Replayed {
    /// Whether what counts of the object begins with a file.
    fn begins_with_file(&self) -> bool {
        !self.is_deleted && self.adopted == Some(self.first)
    }

    /// What recovery is about to do to the object's file.
    fn change<'a>(
        &self,
        key: &'a ObjectKey,
        store: &'a dyn PageStore,
        unmarked: Option<&HashMap<RawId, Unmarked>>,
    ) -> WriteBack<'a> {
        // What was kept before the object began anew from a file does not lead to it.
        let began = self.adopted.map(Point::from);
        let known = unmarked.and_then(|unmarked| unmarked.get(&key.id));
        let known = known.filter(|known| began.is_none_or(|began| began <= known.to.into()));
        let looked = match known {
            Some(known) => Ok((known.from, known.size)),
            None => store.size().and_then(|size| Ok((store.stamp()?, size))),
        };
        let size_after = if self.is_deleted { 0 } else { self.size };
        let pages = match (&looked, unmarked) {
            (Ok((_, size)), Some(_)) => {
                let known = known.map(|known| &known.pages);
                Pages::touched(*size, self.pages.keys().copied(), size_after, known)
            }
            _ => Pages::Unknown,
        };
        let (from, size) = looked.unwrap_or_default();
        let (to, removes) = (self.stamp, self.is_deleted);
        WriteBack { key, store, from, size, to, removes, pages }
    }

    /// The file that the object has, or begins with.
    ///
    /// # Errors
    /// When the disk cannot be asked.
    pub(crate) fn store(
        &self,
        disk: &Arc<dyn Disk>,
        root: &Path,
        key: &ObjectKey,
    ) -> std::io::Result<FilePerObject> {
        let store = FilePerObject::new(Arc::clone(disk), root, key);
        if let Some(stamp) = self.adopted.filter(|_| self.begins_with_file()) {
            let folder = copies::folder_of(root.parent().unwrap_or(root));
            let path = copies::path_of(&folder, key.id, stamp);
            if disk.exists(&path)? {
                store.adopt(path);
            }
        }
        Ok(store)
    }
}

impl Visitor for Replay {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        // A scan reports every mebibyte.
        if done_bytes >= self.told_bytes.saturating_add(TOLD_BYTES) || done_bytes == total_bytes {
            self.told_bytes = done_bytes;
            note!(info, done_bytes, total_bytes, "replaying the journal");
        }
    }

    /// Applies one commit.
    fn commit(&mut self, found: &Found<'_>) -> Result<()> {
        let record = &found.record;
        let key = ObjectKey { class: record.head.class.into(), id: record.head.id };
        let stamp =
            Stamp { commit: record.head.number, epoch: record.head.epoch, time_ms: record.time_ms };
        let object = self
            .objects
            .entry(key)
            .or_insert_with(|| Replayed { first: stamp, ..Replayed::default() });
        object.about.merge(About {
            name: record.name.map(Arc::from),
            location_hint: record.location_hint.map(str::to_owned),
        });
        if record.effects.creates {
            object.created_ms = Some(record.time_ms);
        }
        if record.effects.deletes || record.effects.creates {
            object.pages.clear();
            object.lacking.clear();
            (object.first, object.stands_alone) = (stamp, true);
        }
        if record.effects.adopts {
            object.adopted = Some(stamp);
        }
        object.is_deleted = record.effects.deletes;
        object.wake = record.wake.or(object.wake);
        for entry in record.pages() {
            let previous = object.pages.get(&entry.number);
            match entry.change.image(previous.map(|page| &**page)) {
                Some(image) => {
                    object.pages.insert(entry.number, Arc::new(image));
                    object.lacking.remove(&entry.number);
                }
                // A later image may still mend it.
                None => {
                    object.lacking.entry(entry.number).or_insert(record.head.number);
                }
            }
        }
        object.size = record.database_pages;
        let beyond = object.size.saturating_add(1);
        object.pages.split_off(&beyond);
        object.lacking.split_off(&beyond);
        object.stamp = stamp;
        Ok(())
    }
}

impl Replay {
    /// The objects that provably lack a commit; nothing of them is left to be replayed.
    fn take_lost(
        &mut self,
        affected: &[Affected],
        quarantine: &Quarantine,
        root: &Path,
        disk: &Arc<dyn Disk>,
    ) -> Result<Vec<Affected>> {
        let stamp_of = |key: &ObjectKey| {
            let stamp = self.objects.get(key).map_or_else(
                || FilePerObject::new(Arc::clone(disk), root, key).stamp(),
                |object| object.store(disk, root, key)?.stamp(),
            );
            stamp.map_err(|error| io_error("read", &object_path(root, key), &error))
        };
        let mut lost = affected.to_vec();
        for lost in &mut lost {
            if lost.missing.is_none() {
                // Nothing of it was found before the hole.
                lost.missing = Some(stamp_of(&lost.object)?.commit.saturating_add(1));
            }
        }
        for (key, object) in &self.objects {
            if lost.iter().any(|lost| lost.object == *key) {
                continue;
            }
            // One that is in quarantine already has records only if a start was interrupted.
            let known = quarantine.objects.get(key).and_then(|why| why.missing);
            if let Some(missing) = known.or(object.gap(stamp_of(key)?)).or(object.lacks()) {
                let found = Some(object.first.commit);
                lost.push(Affected { object: key.clone(), missing: Some(missing), found });
            }
        }
        for lost in &lost {
            self.objects.remove(&lost.object);
        }
        Ok(lost)
    }

    fn rows(&self) -> Vec<(ObjectKey, Row)> {
        let row = |object: &Replayed| Row {
            about: object.about.clone(),
            created_ms: object.created_ms,
            stamp: object.stamp,
            header: object.pages.get(&1).map(|page| Header::of(&page[..])).or(object.header),
            deleted: object.is_deleted,
        };
        self.objects.iter().map(|(key, object)| (key.clone(), row(object))).collect()
    }

    /// The objects that were created from a file which is not in its place, and where it is. Also of those that were deleted since:
    /// their history is to have it.
    fn adopted(&self, data: &Path, disk: &dyn Disk) -> Result<Vec<(ObjectKey, PathBuf)>> {
        let folder = copies::folder_of(data);
        let mut adopted = Vec::new();
        for (key, object) in &self.objects {
            let Some(stamp) = object.adopted else { continue };
            let path = copies::path_of(&folder, key.id, stamp);
            if disk.exists(&path).map_err(|error| io_error("find", &path, &error))? {
                adopted.push((key.clone(), path));
            }
        }
        Ok(adopted)
    }

    /// Moves files to the places of their objects, also of objects that have lost later commits: what is in
    /// place then is what they were created from.
    fn settle(
        &mut self,
        adopted: &[(ObjectKey, PathBuf)],
        root: &Path,
        disk: &Arc<dyn Disk>,
    ) -> Result<()> {
        for (key, path) in adopted {
            let store = FilePerObject::new(Arc::clone(disk), root, key);
            store.adopt(path.clone());
            let settled = store.settle().and_then(|()| store.sync()).and_then(|()| store.header());
            let header = settled.map_err(|error| io_error("move", path, &error))?;
            store.release();
            if let Some(object) = self.objects.get_mut(key) {
                object.header = header;
            }
        }
        Ok(())
    }

    /// What the due index lacks.
    fn wakes(&self) -> Vec<(ObjectKey, Wake)> {
        let wakes = self.objects.iter();
        wakes.filter_map(|(key, object)| Some((key.clone(), object.wake?))).collect()
    }

    /// Keeps what the files hold, before they are written. One that cannot be read loses its history.
    fn keep_before(&self, root: &Path, disk: &Arc<dyn Disk>, history: &History, now_ms: i64) {
        if self.objects.is_empty() {
            return;
        }
        let unmarked = history.unmarked().unwrap_or_else(|error| {
            note!(error, reason = %error, "the objects' history cannot be read");
            None
        });
        let objects: Vec<_> = self.objects.iter().collect();
        for objects in objects.chunks(FILES_AT_ONCE) {
            let store = |key| FilePerObject::new(Arc::clone(disk), root, key).mended();
            let stores: Vec<_> = objects.iter().map(|(key, _)| store(*key)).collect();
            let changes = objects.iter().zip(&stores);
            let changes: Vec<_> = changes
                .map(|((key, object), store)| object.change(key, store, unmarked.as_ref()))
                .collect();
            history.before(&changes, now_ms);
        }
    }

    /// Writes every replayed page to its file, and makes all of them durable.
    fn write_back(self, root: &Path, disk: &Arc<dyn Disk>) -> Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let failed = |key: &ObjectKey, error: std::io::Error| {
            Error::new(ErrorKind::Storage, format!("cannot write the file of {key}: {error}"))
        };
        let total = self.objects.len();
        let mut written = Vec::with_capacity(total);
        for (key, object) in self.objects {
            let store = FilePerObject::new(Arc::clone(disk), root, &key);
            let done = if object.is_deleted {
                store.delete()
            } else {
                let pages = object.pages.into_iter().collect();
                store.write(&Snapshot { pages, size: object.size }, object.stamp)
            };
            done.map_err(|error| failed(&key, error))?;
            // One descriptor at a time.
            store.release();
            written.push((key, store));
            if written.len() % TOLD_FILES == 0 {
                note!(
                    info,
                    done = written.len(),
                    total,
                    "bringing files up to date from the journal"
                );
            }
        }
        note!(info, objects = written.len(), "brought files up to date from the journal");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: u32, commit: u64) -> Stamp {
        Stamp { commit, epoch, ..Stamp::default() }
    }

    #[test]
    fn what_neither_file_nor_journal_has_is_a_gap_across_epochs_too() {
        let replayed = |first, last, stands_alone| Replayed {
            first,
            stamp: last,
            stands_alone,
            ..Replayed::default()
        };
        // A file that lags, is as far, or is between the first commit and the last.
        let later = replayed(stamp(1, 5), stamp(1, 9), false);
        for file in 4..=9 {
            assert_eq!(later.gap(stamp(1, file)), None, "{file}");
        }
        assert_eq!(later.gap(stamp(1, 3)), Some(4));
        assert_eq!(later.gap(stamp(1, 10)), Some(10), "the journal has lost its end");
        // The file is still that of the object before, which came further; it does not matter any more.
        let anew = replayed(stamp(2, 1), stamp(2, 3), true);
        assert_eq!(anew.gap(stamp(1, 50)), None);
        assert_eq!(anew.gap(Stamp::default()), None);
        assert_eq!(anew.gap(stamp(2, 4)), Some(4));
        // The creation itself is lost.
        let headless = replayed(stamp(2, 51), stamp(2, 52), false);
        assert_eq!(headless.gap(stamp(1, 50)), Some(51));
    }
}
