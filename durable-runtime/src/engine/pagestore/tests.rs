use std::fs;
use std::sync::atomic::Ordering::SeqCst;

use rusqlite::Connection;

use super::*;
use crate::engine::files::RealDisk;
use crate::engine::overlay::{Page, Template};
use crate::engine::testing::{FaultyDisk, Random};
use crate::id::RawId;

fn key() -> ObjectKey {
    ObjectKey { class: "ChatRoom".into(), id: RawId::from_name("ChatRoom", None, "lobby") }
}

fn store(root: &Path) -> FilePerObject {
    FilePerObject::new(Arc::new(RealDisk), root, &key())
}

fn template() -> Template {
    crate::engine::vfs::template().unwrap()
}

/// An empty database with pages behind it.
fn snapshot(size: u32) -> Snapshot {
    let first = Arc::clone(&template()[0]);
    let others = (2..=size).zip(2..).map(|(number, byte)| (number, Page::new([byte; PAGE])));
    Snapshot { pages: std::iter::once((1, first)).chain(others).collect(), size }
}

fn read(store: &FilePerObject, number: u32) -> io::Result<u8> {
    let mut image = [0; PAGE];
    store.read(number, &mut image).map(|()| image[PAGE - 1])
}

fn opens_with_sqlite(path: &Path) -> rusqlite::Result<i64> {
    Connection::open(path)?.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

#[test]
fn folder_names() {
    assert_eq!(escape("ChatRoom"), "+chat+room");
    assert_eq!(escape("a_b-9"), "a_b-9");
    assert_eq!(escape("../ü"), "%2e%2e%2f%c3%bc");
}

#[test]
fn reading_creates_nothing_and_a_write_back_does() {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("objects");
    let store = store(&root);
    assert_eq!(store.size().unwrap(), 0);
    assert_eq!(read(&store, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    store.delete().unwrap();
    assert!(!root.exists());

    store.write(&snapshot(1), Stamp::default()).unwrap();
    store.sync().unwrap();
    assert_eq!(store.size().unwrap(), 1);
    assert_eq!(opens_with_sqlite(&object_path(&root, &key())).unwrap(), 0);
    store.release();
    store.write(&snapshot(5), Stamp::default()).unwrap();
    assert_eq!((store.size().unwrap(), read(&store, 5).unwrap()), (5, 5));
    store
        .write(&Snapshot { pages: vec![(2, Page::new([7; PAGE]))], size: 3 }, Stamp::default())
        .unwrap();
    assert_eq!((store.size().unwrap(), read(&store, 2).unwrap()), (3, 7));
    assert_eq!(read(&store, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    store.delete().unwrap();
    assert_eq!(store.size().unwrap(), 0);
}

#[test]
fn only_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    store(data.path()).write(&snapshot(1), Stamp::default()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = object_path(data.path(), &key());
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

/// Each write of a write-back fails once, first of a new file and then of an existing one.
#[test]
fn a_write_back_that_fails_leaves_a_file_that_nobody_takes_for_a_database() {
    for is_new in [true, false] {
        let mut operations = 0;
        for fault in 0.. {
            let data = tempfile::tempdir().unwrap();
            let (disk, faults) = FaultyDisk::new();
            let failing = FilePerObject::new(Arc::new(disk), data.path(), &key());
            if !is_new {
                failing.write(&snapshot(2), Stamp::default()).unwrap();
            }
            faults.writes.store(fault, SeqCst);
            let outcome = failing.write(&snapshot(4), Stamp::default());
            faults.clear();
            if outcome.is_ok() {
                break;
            }
            operations += 1;
            check_interrupted(data.path(), &failing, is_new && fault < 4, fault == 0 && !is_new);
        }
        assert!(operations >= 6, "{operations}");
    }
}

fn check_interrupted(root: &Path, failing: &FilePerObject, is_missing: bool, is_untouched: bool) {
    let path = object_path(root, &key());
    let len = fs::metadata(&path).map_or(0, |file| file.len());
    if is_untouched {
        assert_eq!(opens_with_sqlite(&path).unwrap(), 0);
    } else if len > 0 {
        assert!(opens_with_sqlite(&path).is_err());
        // Whoever opens it later does not know what is missing.
        assert!(read(&store(root), 1).is_err());
    } else {
        assert!(is_missing);
    }
    failing.write(&snapshot(4), Stamp::default()).unwrap();
    assert_eq!(opens_with_sqlite(&path).unwrap(), 0);
    assert_eq!((read(&store(root), 4).unwrap(), read(failing, 1).is_ok()), (4, true));
}

#[test]
fn the_store_that_failed_reads_on() {
    let data = tempfile::tempdir().unwrap();
    let (disk, faults) = FaultyDisk::new();
    let store = FilePerObject::new(Arc::new(disk), data.path(), &key());
    store.write(&snapshot(2), Stamp::default()).unwrap();
    faults.writes.store(1, SeqCst);
    let second = Snapshot { pages: vec![(2, Page::new([9; PAGE]))], size: 2 };
    store.write(&second, Stamp::default()).unwrap_err();
    assert!(opens_with_sqlite(&object_path(data.path(), &key())).is_err());
    let mut image = [0; PAGE];
    store.read(1, &mut image).unwrap();
    assert!(image == *template()[0]);
    store.write(&second, Stamp::default()).unwrap();
    assert_eq!(opens_with_sqlite(&object_path(data.path(), &key())).unwrap(), 0);
}

#[test]
fn a_length_that_is_no_database() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path());
    store.write(&snapshot(2), Stamp::default()).unwrap();
    let path = object_path(data.path(), &key());
    fs::File::options().write(true).open(path).unwrap().set_len(5_000).unwrap();
    assert_eq!(store.size().unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(read(&store, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn the_first_page_is_whole_for_readers_during_a_write_back() {
    let data = tempfile::tempdir().unwrap();
    let store = store(data.path());
    store.write(&snapshot(2), Stamp::default()).unwrap();
    let second = Snapshot { pages: vec![(2, Page::new([9; PAGE]))], size: 2 };
    std::thread::scope(|scope| {
        let writer = scope
            .spawn(|| (0..2_000).for_each(|_| store.write(&second, Stamp::default()).unwrap()));
        let mut random = Random::new(1);
        while !writer.is_finished() {
            let mut image = [0; PAGE];
            store.read(1, &mut image).unwrap();
            assert!(image == *template()[0], "{}", random.below(2));
        }
    });
}

#[test]
fn whose_file_it_is_stands_in_its_path() {
    let root = Path::new("/objects");
    for class in ["ChatRoom", "a b%+", "Straße", "x"] {
        let key = ObjectKey { class: class.into(), id: RawId::from_name(class, None, "lobby") };
        assert_eq!(object_at(root, &object_path(root, &key)), Some(key), "{class}");
    }
    let good = object_path(root, &key());
    assert_eq!(object_at(root, &good.with_extension("bak")), None);
    assert_eq!(object_at(Path::new("/other"), &good), None);
    let elsewhere = good.to_str().unwrap().replace("+chat+room", "+chatroom");
    assert_eq!(object_at(root, Path::new(&elsewhere)), None);
    for folder in ["A", "+", "%4", "%zz", "%41", "+1", "%ff"] {
        assert_eq!(unescape(folder), None, "{folder}");
    }
}
