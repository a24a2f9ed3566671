//! A disk in memory that loses power and fails when it is told to.
//!
//! The guarantee: what was synced is there after a [`power_loss`](SimulatedDisk::power_loss). Of everything
//! else, each sector of each write, each change of a length and each change of a folder is kept or
//! lost by itself, in any order. The same seed loses the same.
//!
//! Every call is counted under its *site*: what is done to which kind of file, such as
//! `write_at #.segment`, digits being left out. A test learns all sites from a run without
//! faults, and then lets the n-th call of each of them fail.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile, FilesystemSync};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The device reports an error.
    Io,
    /// There is no space.
    Full,
    /// A write gets half-way and then the device reports an error.
    Short,
    /// The process dies: neither this call nor any later one does anything, until the power is back.
    Crash,
}

/// The next one of a sequence of random numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// True this often of 100 times.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    /// What is where now, and what would be after a loss of power that keeps nothing unsynced.
    entries: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// Changes of folders since they were synced, in order.
    changes: Vec<Change>,
    calls: BTreeMap<String, u64>,
    total: u64,
    faults: Vec<(Trigger, Fault)>,
    crashed: bool,
    lacks_filesystem_sync: bool,
    open_files: usize,
    open_files_max: Option<usize>,
}

#[derive(Debug, Default)]
struct Node {
    /// The name it had last.
    path: PathBuf,
    is_folder: bool,
    content: Vec<u8>,
    durable: Vec<u8>,
    writes: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Made(PathBuf, u64),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf),
}

#[derive(Clone, Debug)]
enum Trigger {
    Site(String, u64),
    Any(u64),
}

impl SimulatedDisk {
    /// The n-th call from now of this site fails, counted from 1.
    pub(crate) fn inject(&self, site: &str, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let before = state.calls.get(site).copied().unwrap_or(0);
        state.faults.push((Trigger::Site(site.to_owned(), before + nth), fault));
    }

    /// The n-th call from now fails, whichever it is, counted from 1.
    pub(crate) fn inject_any(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let nth = state.total + nth;
        state.faults.push((Trigger::Any(nth), fault));
    }

    /// Forgets the faults that have not happened; says how many.
    pub(crate) fn clear_faults(&self) -> usize {
        std::mem::take(&mut self.state.lock().faults).len()
    }

    /// From now on the system cannot sync a whole file system.
    pub(crate) fn take_filesystem_sync(&self) {
        self.state.lock().lacks_filesystem_sync = true;
    }

    /// At most so many files can be open.
    pub(crate) fn limit_open_files(&self, files: usize) {
        self.state.lock().open_files_max = Some(files);
    }

    /// How often each site was called.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.state.lock().calls.clone()
    }

    /// How many calls there were.
    pub(crate) fn total_calls(&self) -> u64 {
        self.state.lock().total
    }

    /// Loses the power and gets it back: open files are as if they had been closed.
    pub(crate) fn power_loss(&self, seed: u64) {
        let mut random = Random(seed);
        // Some losses keep nearly everything or nearly nothing: both find errors that a fair coin does not.
        let kept_percent = [0, 10, 50, 90, 100][random.below(5)];
        let state = &mut *self.state.lock();
        for node in state.nodes.values_mut() {
            node.lose_power(&mut random, kept_percent);
        }
        for change in std::mem::take(&mut state.changes) {
            if random.chance(kept_percent) {
                change.apply(&mut state.durable);
            }
        }
        // What is in a lost folder is lost.
        let all = state.durable.clone();
        state.durable.retain(|path, _| {
            path.ancestors()
                .skip(1)
                .all(|above| above.parent().is_none() || all.contains_key(above))
        });
        state.entries = state.durable.clone();
        state.crashed = false;
        state.faults.clear();
    }

    /// The process dies, and another one begins: the system has kept all that was written.
    pub(crate) fn restart(&self) {
        let state = &mut *self.state.lock();
        state.crashed = false;
        state.faults.clear();
    }

    /// The process dies now: no later call does anything.
    pub(crate) fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// Whether the process has died.
    pub(crate) fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// The whole content of a file, as it is now.
    pub(crate) fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        state.find(path).map(|node| state.nodes[&node].content.clone())
    }

    /// Puts a content in place of that of a file, durably: damage, or the file of another program.
    pub(crate) fn overwrite(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let number = state.find(path)?;
        if let Some(node) = state.nodes.get_mut(&number) {
            node.content = content.to_vec();
            node.durable = content.to_vec();
            node.writes.clear();
        }
        Ok(())
    }

    /// A call that a fault keeps from doing anything.
    fn checked(&self, operation: &str, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        let fault = state.count(operation, path);
        fault.map_or(Ok(state), |fault| Err(fault.error()))
    }

    fn file(&self, state: &mut State, node: u64) -> io::Result<Arc<dyn DiskFile>> {
        if state.open_files_max.is_some_and(|files| state.open_files >= files) {
            return Err(rustix::io::Errno::MFILE.into());
        }
        state.open_files += 1;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), node }))
    }

    /// A call on an open file, under the name that the file has now.
    fn call_file(&self, operation: &str, node: u64) -> (MutexGuard<'_, State>, Option<Fault>) {
        let mut state = self.state.lock();
        let path = state.nodes.get(&node).map(|node| node.path.clone()).unwrap_or_default();
        let fault = state.count(operation, &path);
        (state, fault)
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Io | Fault::Short => io::Error::other("injected fault of the device"),
            Fault::Crash => io::Error::other("the power is off"),
        }
    }
}

/// The name of a file without its digits, so that all files of a kind have one site.
pub(crate) fn kind_of_file(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut kind = String::new();
    for letter in name.unwrap_or_default().chars() {
        match letter {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            other => kind.push(other),
        }
    }
    kind
}

impl State {
    fn count(&mut self, operation: &str, path: &Path) -> Option<Fault> {
        if self.crashed {
            return Some(Fault::Crash);
        }
        let site = format!("{operation} {}", kind_of_file(path));
        self.total += 1;
        let count = self.calls.entry(site.clone()).or_default();
        *count += 1;
        let (count, total) = (*count, self.total);
        let hit = self.faults.iter().position(|(trigger, _)| match trigger {
            Trigger::Site(of, nth) => *of == site && *nth == count,
            Trigger::Any(nth) => *nth == total,
        })?;
        let (_, fault) = self.faults.swap_remove(hit);
        self.crashed = fault == Fault::Crash;
        Some(fault)
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.entries.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.parent().is_none()
            || self.entries.get(path).is_some_and(|node| self.nodes[node].is_folder)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.entries);
        self.changes.push(change);
    }

    fn make(&mut self, path: &Path, is_folder: bool) -> u64 {
        let number = self.nodes.len() as u64;
        let node = Node { path: path.to_owned(), is_folder, ..Node::default() };
        self.nodes.insert(number, node);
        self.change(Change::Made(path.to_owned(), number));
        number
    }

    fn sync_folder(&mut self, path: &Path) {
        let (synced, rest) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.folder() == path.parent().map_or(Path::new("/"), |_| path));
        self.changes = rest;
        let synced: Vec<Change> = synced;
        for change in &synced {
            change.apply(&mut self.durable);
        }
    }
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Made(path, node) => {
                entries.insert(path.clone(), *node);
            }
            Change::Removed(path) => {
                entries.remove(path);
            }
            Change::Renamed(from, to) => {
                // Without the entry, since its making was lost, there is nothing to rename.
                if let Some(node) = entries.remove(from) {
                    entries.insert(to.clone(), node);
                }
            }
        }
    }

    /// A rename counts for the folder that it leads to.
    fn folder(&self) -> &Path {
        let (Change::Made(path, _) | Change::Removed(path) | Change::Renamed(_, path)) = self;
        path.parent().unwrap_or(Path::new("/"))
    }
}

impl Node {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.content);
        self.writes.push(write);
    }

    fn sync(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            write.apply(&mut self.durable);
        }
    }

    /// A sync fails as on real systems: what was to be written counts as written, and part of it is not.
    fn fail_sync(&mut self, seed: u64) {
        let mut random = Random(seed);
        let pieces = std::mem::take(&mut self.writes).into_iter().flat_map(Write::into_sectors);
        for piece in pieces {
            if random.chance(50) {
                piece.apply(&mut self.durable);
            }
        }
    }

    fn lose_power(&mut self, random: &mut Random, kept_percent: usize) {
        let mut pieces = std::mem::take(&mut self.writes)
            .into_iter()
            .flat_map(Write::into_sectors)
            .collect::<Vec<_>>();
        random.shuffle(&mut pieces);
        for piece in pieces {
            if random.chance(kept_percent) {
                piece.apply(&mut self.durable);
            }
        }
        self.content = self.durable.clone();
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Write::Length(bytes) => content.resize(*bytes, 0),
            Write::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    fn into_sectors(self) -> Vec<Write> {
        let Write::Bytes { mut offset, bytes } = self else { return vec![self] };
        let mut rest = bytes.as_slice();
        let mut sectors = Vec::new();
        while !rest.is_empty() {
            let length = (SECTOR_BYTES - offset % SECTOR_BYTES).min(rest.len());
            let (sector, after) = rest.split_at(length);
            sectors.push(Write::Bytes { offset, bytes: sector.to_vec() });
            offset += length;
            rest = after;
        }
        sectors
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.checked("create", path)?;
        if !path.parent().is_some_and(|folder| state.is_folder(folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let node = state.find(path).unwrap_or_else(|_| state.make(path, false));
        self.file(&mut state, node)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.checked("open", path)?;
        let node = state.find(path)?;
        self.file(&mut state, node)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.checked("create_dir_all", path)?;
        let above: Vec<&Path> = path.ancestors().collect();
        for folder in above.into_iter().rev() {
            if !state.is_folder(folder) {
                state.make(folder, true);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.checked("rename", from)?;
        let node = state.find(from)?;
        if let Some(node) = state.nodes.get_mut(&node) {
            to.clone_into(&mut node.path);
        }
        state.change(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.checked("remove", path)?;
        state.find(path)?;
        state.change(Change::Removed(path.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.checked("list", folder)?;
        if !state.is_folder(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.entries.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.checked("exists", path)?;
        Ok(state.find(path).is_ok())
    }

    fn sync_directory(&self, folder: &Path) -> io::Result<()> {
        self.checked("sync_directory", folder)?.sync_folder(folder);
        Ok(())
    }

    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync> {
        let state = &mut *self.state.lock();
        if let Some(fault) = state.count("sync_filesystem", folder) {
            if fault == Fault::Io {
                let total = state.total;
                state.nodes.values_mut().for_each(|node| node.fail_sync(total));
            }
            return Err(fault.error());
        }
        if state.lacks_filesystem_sync {
            return Ok(FilesystemSync::Unsupported);
        }
        state.nodes.values_mut().for_each(Node::sync);
        let changes = std::mem::take(&mut state.changes);
        for change in &changes {
            change.apply(&mut state.durable);
        }
        Ok(FilesystemSync::Done)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    node: u64,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.state.lock().open_files -= 1;
    }
}

impl SimulatedFile {
    fn checked<T>(&self, operation: &str, run: impl FnOnce(&mut Node) -> T) -> io::Result<T> {
        let (mut state, fault) = self.disk.call_file(operation, self.node);
        if let Some(fault) = fault {
            return Err(fault.error());
        }
        state.nodes.get_mut(&self.node).map(run).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Positions in memory, for a disk in memory.
fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = index(offset)?;
        self.checked("read_at", |node| {
            let rest = node.content.get(offset..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = index(offset)?;
        let (mut state, fault) = self.disk.call_file("write_at", self.node);
        let written = match fault {
            None => bytes,
            // A write that failed may still have reached the cache in part.
            Some(Fault::Short) => &bytes[..bytes.len() / 2],
            Some(fault) => return Err(fault.error()),
        };
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.write(Write::Bytes { offset, bytes: written.to_vec() });
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = index(bytes)?;
        self.checked("set_len", |node| node.write(Write::Length(bytes)))
    }

    fn len(&self) -> io::Result<u64> {
        self.checked("len", |node| node.content.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, fault) = self.disk.call_file("sync_data", self.node);
        let total = state.total;
        let node = state.nodes.get_mut(&self.node).ok_or(io::ErrorKind::NotFound)?;
        match fault {
            None => node.sync(),
            Some(Fault::Io) => node.fail_sync(total),
            Some(_) => {}
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }
}
