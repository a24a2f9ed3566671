use std::panic;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use rusqlite::ErrorCode;

use super::*;
use crate::engine::ObjectKey;
use crate::engine::files::{Disk, RealDisk};
use crate::engine::overlay::{Changes, Overlay, TURN_BYTES_MAX};
use crate::engine::pagestore::{FilePerObject, Stamp, object_path};
use crate::engine::testing::{Faults, FaultyDisk, Random};
use crate::id::RawId;

mod random;

fn key() -> ObjectKey {
    ObjectKey { class: "Counter".into(), id: RawId::from_name("Counter", None, "one") }
}

pub(super) fn vfs() -> Arc<Vfs> {
    Vfs::register(Arc::new(SystemTime::now)).unwrap()
}

pub(super) fn nothing() -> Configure {
    Arc::new(|_| Ok(()))
}

/// An object in a folder of its own, and the connection to it.
struct Fixture {
    root: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    vfs: Arc<Vfs>,
    object: Arc<ObjectFile>,
    connection: Option<ObjectConnection>,
    epoch: u64,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::on(Arc::new(RealDisk))
    }

    fn faulty() -> (Fixture, Arc<Faults>) {
        let (disk, faults) = FaultyDisk::new();
        (Fixture::on(Arc::new(disk)), faults)
    }

    fn on(disk: Arc<dyn Disk>) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let vfs = vfs();
        let object = open_object(&vfs, &disk, root.path()).unwrap();
        let connection = Some(open_connection(&object, &nothing()).unwrap());
        Fixture { root, disk, vfs, object, connection, epoch: 1 }
    }

    fn db(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }

    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        run(self.db(), sql)
    }

    /// What the engine does when SQLite has committed.
    fn accept(&self) -> Changes {
        let mut overlay = self.object.overlay();
        let changes = overlay.changes(self.epoch);
        overlay.accept(self.epoch);
        changes
    }

    fn commit(&self, sql: &str) -> Changes {
        self.run(sql).unwrap();
        self.accept()
    }

    fn count(&self) -> i64 {
        self.db().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    fn write_back(&self) {
        let Some(snapshot) = self.object.overlay().snapshot() else { return };
        self.object.store().write(&snapshot, Stamp::default()).unwrap();
        self.object.overlay().written_back(&snapshot);
    }

    /// A new connection to the same object.
    fn reconnect(&mut self) {
        self.connection = None;
        self.connection = Some(open_connection(&self.object, &nothing()).unwrap());
    }

    /// Evicts the object and opens it again from its file alone.
    fn reopen(&mut self) {
        self.write_back();
        self.connection = None;
        self.object = open_object(&self.vfs, &self.disk, self.root.path()).unwrap();
        self.reconnect();
    }

    fn path(&self) -> std::path::PathBuf {
        object_path(self.root.path(), &key())
    }

    fn check_integrity(&self) {
        let check: String =
            self.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}

fn run(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    if sql.starts_with("PRAGMA incremental_vacuum") {
        // Each step frees one page.
        return db.prepare(sql)?.query_map([], |_| Ok(()))?.collect();
    }
    db.execute_batch(sql)
}

fn open_object(vfs: &Arc<Vfs>, disk: &Arc<dyn Disk>, root: &Path) -> Result<Arc<ObjectFile>> {
    let store = Arc::new(FilePerObject::new(Arc::clone(disk), root, &key()));
    ObjectFile::open(vfs, store, &template()?).map(Arc::new)
}

const NUMBERS: &str = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ";

fn rows(count: u32, bytes: u32) -> String {
    format!("INSERT INTO t SELECT i, randomblob({bytes}) FROM ({NUMBERS}{count}) SELECT i FROM n);")
}

#[test]
fn a_new_object_costs_nothing_until_it_commits() {
    let mut fixture = Fixture::new();
    let pragma = |name: &str| {
        let sql = format!("PRAGMA {name}");
        fixture.db().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((pragma("page_size"), pragma("auto_vacuum"), pragma("synchronous")), (4_096, 2, 0));
    assert_eq!(pragma("application_id"), i64::from(sqlite::APPLICATION_ID));
    assert_eq!((fixture.object.overlay().bytes(), fixture.path().exists()), (0, false));

    let changes = fixture.commit("CREATE TABLE t (x INTEGER PRIMARY KEY, y)");
    assert_eq!(changes.size_before, 0);
    assert!(changes.pages.iter().all(|change| change.first_touch && change.before.is_none()));
    assert_eq!(changes.pages.len(), changes.size as usize);
    assert!(!fixture.path().exists());
    fixture.reopen();
    assert_eq!((fixture.count(), fixture.object.overlay().bytes()), (0, 0));
}

#[test]
fn a_small_update_changes_one_page() {
    let fixture = Fixture::new();
    fixture.commit("CREATE TABLE t (x INTEGER PRIMARY KEY, y); INSERT INTO t VALUES (1, 0)");
    for first_touch in [false, false] {
        let changes = fixture.commit("UPDATE t SET y = y + 1");
        let touched: Vec<_> = changes.pages.iter().map(|change| change.first_touch).collect();
        assert_eq!(touched, [first_touch]);
        assert_eq!(changes.size, changes.size_before);
    }
    assert!(fixture.commit("UPDATE t SET y = 5 WHERE x = 9").is_empty());
}

#[test]
fn the_file_is_a_plain_database_after_write_back() {
    let fixture = Fixture::new();
    fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(500, 300)));
    fixture.write_back();
    assert!(fixture.object.overlay().snapshot().is_none());
    let stock = Connection::open(fixture.path()).unwrap();
    let sum = |db: &Connection| -> (i64, i64) {
        let sql = "SELECT count(*), sum(x * length(y)) FROM t";
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(sum(&stock), sum(fixture.db()));
    let check: String = stock.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_was_rolled_back_leaves_no_change() {
    let mut fixture = Fixture::new();
    fixture.commit(&format!("CREATE TABLE t (x UNIQUE, y); {}", rows(200, 500)));
    for sql in [
        "BEGIN; DELETE FROM t; ROLLBACK",
        "INSERT INTO t SELECT 300 - x, y FROM t",
        "INSERT OR ROLLBACK INTO t SELECT 1, 1",
    ] {
        let _ = fixture.run(sql);
        let changes = fixture.object.overlay().changes(fixture.epoch);
        assert!(changes.is_empty(), "{sql}");
        fixture.object.overlay().discard();
        assert_eq!(fixture.count(), 200, "{sql}");
    }
    // SQLite writes all pages back as they were, but for the counter of changes in the first one.
    let sql = "BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; RELEASE s; COMMIT";
    let changes = fixture.commit(sql);
    assert!(changes.pages.iter().all(|change| change.number == 1), "{changes:?}");
    let before = fixture.object.overlay().snapshot().unwrap();
    // A commit that is refused after SQLite has made it.
    fixture.run("DELETE FROM t WHERE x > 50; CREATE TABLE u (x)").unwrap();
    fixture.object.overlay().discard();
    fixture.reconnect();
    assert_eq!(fixture.count(), 200);
    assert!(fixture.run("SELECT * FROM u").is_err());
    let after = fixture.object.overlay().snapshot().unwrap();
    assert!(after.pages == before.pages && after.size == before.size);
    fixture.check_integrity();
}

#[test]
fn shrinking_and_growing_again() {
    let mut fixture = Fixture::new();
    fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(300, 4_000)));
    fixture.reopen();
    let large = fixture.object.overlay().size();
    fixture.commit("DELETE FROM t WHERE x > 10");
    let changes = fixture.commit("PRAGMA incremental_vacuum");
    assert!(changes.size < 30 && changes.size_before == large, "{changes:?}");
    assert!(changes.pages.iter().all(|change| change.number <= changes.size));
    fixture.check_integrity();
    fixture.reopen();
    assert_eq!(fixture.object.store().size().unwrap(), changes.size);
    fixture.commit(&rows(300, 3_000).replace("INSERT", "INSERT OR REPLACE"));
    fixture.check_integrity();
    fixture.commit("DELETE FROM t WHERE x % 3");
    let changes = fixture.commit("VACUUM");
    assert!(changes.size < changes.size_before);
    fixture.check_integrity();
    fixture.reopen();
    fixture.check_integrity();
    assert_eq!(fixture.count(), 100);
}

#[test]
fn a_transaction_that_is_too_large() {
    for spill in [4_096, 10] {
        let mut fixture = Fixture::new();
        fixture.run(&format!("PRAGMA cache_spill = {spill}; PRAGMA cache_size = 10")).unwrap();
        fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(400, 3_000)));
        fixture.write_back();
        let before = fixture.object.overlay().size();
        fixture.object.overlay().set_limit(1_024 * 1_024);
        for sql in [
            rows(5_000, 3_000).replace("SELECT i,", "SELECT i + 1000,"),
            "UPDATE t SET y = randomblob(3000)".to_owned(),
            format!("BEGIN; {} COMMIT", rows(900, 3_000).replace("INSERT", "REPLACE")),
        ] {
            let error = fixture.run(&sql).unwrap_err();
            assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull), "{sql}");
            let error = fixture.object.take_failure().unwrap();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.message().contains("at most 1 MiB"), "{error}");
            assert!(fixture.db().is_autocommit());
            fixture.object.overlay().discard();
            assert_eq!(fixture.object.take_failure(), None);
            assert_eq!((fixture.count(), fixture.object.overlay().size()), (400, before));
            fixture.check_integrity();
        }
        fixture.commit("UPDATE t SET y = 1 WHERE x = 7");
        fixture.object.overlay().set_limit(TURN_BYTES_MAX);
        fixture.commit(&rows(5_000, 3_000).replace("INSERT", "REPLACE"));
        fixture.reopen();
        assert_eq!(fixture.count(), 5_000);
        fixture.check_integrity();
    }
}

#[test]
fn a_store_that_fails_or_panics_is_an_error_and_the_connection_goes_on() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for inject in [Faults::fail_read, Faults::panic_at] {
        let (mut fixture, faults) = Fixture::faulty();
        fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(300, 3_000)));
        fixture.reopen();
        for at in 0..100 {
            fixture.reconnect();
            inject(&faults, at);
            let outcome = fixture.run("UPDATE t SET y = 0; DELETE FROM t WHERE x < 5");
            faults.clear();
            if let Err(error) = outcome {
                assert_eq!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure), "{error}");
                let cause = fixture.object.take_failure().unwrap();
                assert_eq!(cause.kind(), ErrorKind::Storage);
                assert!(cause.message().contains("injected") || cause.message().contains("panic"));
            }
            fixture.object.overlay().discard();
            fixture.reconnect();
            assert_eq!(fixture.count(), 300);
            fixture.check_integrity();
        }
        faults.reads.store(0, SeqCst);
        fixture.connection = None;
        let error = open_connection(&fixture.object, &nothing()).unwrap_err();
        assert!(error.message().contains("injected"), "{error}");
    }
    panic::set_hook(hook);
}

#[test]
fn a_damaged_file_says_how() {
    let mut fixture = Fixture::new();
    fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(300, 3_000)));
    fixture.reopen();
    let file = std::fs::File::options().write(true).open(fixture.path()).unwrap();
    file.set_len(20 * 4_096).unwrap();
    let error = fixture.run("SELECT sum(length(y)) FROM t").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt), "{error}");
    let cause = fixture.object.take_failure().unwrap();
    assert!(cause.message().contains("the object's file ends before page"), "{cause}");

    std::os::unix::fs::FileExt::write_all_at(&file, &[0x80], 19).unwrap();
    fixture.connection = None;
    let object = open_object(&fixture.vfs, &fixture.disk, fixture.root.path()).unwrap();
    let error = open_connection(&object, &nothing()).unwrap_err();
    assert!(error.message().contains("was interrupted"), "{error}");
}

#[test]
fn one_connection_and_one_file() {
    let fixture = Fixture::new();
    let error = open_connection(&fixture.object, &nothing()).unwrap_err();
    assert!(error.message().contains("open already"), "{error}");
    fixture.commit("CREATE TABLE t (x)");
    assert!(fixture.run("ATTACH 'other.db' AS other").is_err());
    assert!(fixture.run("ATTACH 'file:/tmp/x?vfs=unix' AS other").is_err());
    assert!(fixture.run("PRAGMA journal_mode = DELETE; INSERT INTO t VALUES (1)").is_err());
    let _ = fixture.run("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1)");
    fixture.object.overlay().discard();
    let header = fixture.object.overlay().snapshot().unwrap().pages[0].1[18..20].to_vec();
    assert_eq!(header, [1, 1]);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let unasked = Connection::open_with_flags_and_vfs("x", flags, fixture.vfs.name());
    assert!(unasked.is_err());
}

#[test]
fn the_clock_is_the_one_that_was_given() {
    let Fixture { object, connection, .. } = Fixture::new();
    drop(connection);
    let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(86_400_123));
    let vfs = Vfs::register(clock).unwrap();
    let overlay = Overlay::new(template().unwrap());
    let object = ObjectFile::with_overlay(&vfs, Arc::clone(object.store()), overlay);
    drop(vfs);
    let connection = open_connection(&Arc::new(object), &nothing()).unwrap();
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"), "1970-01-02 00:00:00.123");
    assert_eq!(text("SELECT current_timestamp"), "1970-01-02 00:00:00");
    connection.execute_batch("CREATE TABLE t (x); VACUUM").unwrap();
}

#[test]
fn write_back_goes_on_while_the_object_works() {
    let mut fixture = Fixture::new();
    fixture.commit(&format!("CREATE TABLE t (x INTEGER PRIMARY KEY, y); {}", rows(400, 900)));
    // So that most pages are read from where the other thread puts them.
    fixture.run("PRAGMA cache_size = 5").unwrap();
    let object = Arc::clone(&fixture.object);
    // Dropped when the work ends, also by a panic.
    let working = Arc::new(());
    let watched = Arc::downgrade(&working);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while watched.strong_count() > 0 {
                let Some(snapshot) = object.overlay().snapshot() else { continue };
                object.store().write(&snapshot, Stamp::default()).unwrap();
                object.overlay().written_back(&snapshot);
            }
        });
        let mut random = Random::new(3);
        for round in 0..1_500 {
            let x = random.below(400);
            let y = format!("{round} {}", "y".repeat(random.below(1_500) as usize));
            fixture.commit(&format!("UPDATE t SET y = '{y}' WHERE x = {x}"));
            let found: String = fixture
                .db()
                .query_row("SELECT y FROM t WHERE x = ?1", [x], |row| row.get(0))
                .unwrap_or_default();
            assert!(x == 0 || found == y);
            if round % 100 == 0 {
                fixture.commit("DELETE FROM t WHERE x % 7 = 1");
                fixture.commit("PRAGMA incremental_vacuum");
                fixture.commit(&rows(400, 900).replace("INSERT", "INSERT OR IGNORE"));
                fixture.check_integrity();
            }
        }
        drop(working);
    });
    fixture.reopen();
    fixture.check_integrity();
    assert_eq!(fixture.count(), 400);
}

#[test]
fn the_process_is_tuned_once() {
    let outcome = tune_process();
    drop(Fixture::new());
    assert_eq!(tune_process(), outcome);
    assert_ne!(outcome, Tuned::Refused);
}
