//! The same random SQL on an object and on a plain database in memory.

use rusqlite::types::Value;

use super::*;

const SCHEMA: &str = "CREATE TABLE t (x INTEGER PRIMARY KEY, y UNIQUE, z BLOB); CREATE INDEX i ON t (z); \
     CREATE TABLE w (a TEXT, b, PRIMARY KEY (a, b)) WITHOUT ROWID; \
     CREATE VIRTUAL TABLE f USING fts5(words);";

/// A statement that does the same in every database with the same content.
fn statement(random: &mut Random) -> String {
    let x = random.below(400);
    let blob = format!("zeroblob({}) || 'z{}'", random.below(9_000), random.below(9));
    match random.below(16) {
        0..=3 => format!("INSERT OR REPLACE INTO t VALUES ({x}, 'y{}', {blob})", random.below(400)),
        4 => format!(
            "INSERT INTO t (y, z) SELECT 'n' || y, z FROM t WHERE x % 7 = {} LIMIT 40",
            x % 7
        ),
        5 => format!("UPDATE t SET z = {blob} WHERE x BETWEEN {x} AND {x} + 20"),
        6 => format!("UPDATE t SET x = x + 1 WHERE x >= {x}"),
        7 => format!("DELETE FROM t WHERE x % 5 = {}", x % 5),
        8 => format!("DELETE FROM t WHERE x > {x}"),
        9 => format!("INSERT OR IGNORE INTO w SELECT 'a' || x, length(z) FROM t WHERE x > {x}"),
        10 => "DELETE FROM w".to_owned(),
        11 => format!("INSERT INTO f SELECT 'word' || (x % 50) || ' some {x}' FROM t LIMIT 60"),
        12 => format!("DELETE FROM f WHERE rowid % 3 = {}", x % 3),
        13 => format!("INSERT OR ROLLBACK INTO t SELECT x + {x}, 'q' || x, z FROM t"),
        14 => "PRAGMA incremental_vacuum(20)".to_owned(),
        _ => format!("CREATE TABLE IF NOT EXISTS more{} AS SELECT * FROM t LIMIT 30", x % 4),
    }
}

/// One transaction, perhaps with savepoints, that may end in any way.
fn transaction(random: &mut Random) -> Vec<String> {
    let mut sql = vec!["BEGIN".to_owned()];
    for _ in 0..=random.below(6) {
        match random.below(8) {
            0 => sql.push("SAVEPOINT s".to_owned()),
            1 => sql.push("ROLLBACK TO s".to_owned()),
            2 => sql.push("RELEASE s".to_owned()),
            _ => sql.push(statement(random)),
        }
    }
    sql.push(if random.below(5) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
    if random.below(12) == 0 {
        sql = vec!["VACUUM".to_owned()];
    }
    if random.below(15) == 0 {
        sql = vec![format!("DROP TABLE IF EXISTS more{}", random.below(4))];
    }
    sql
}

fn content(db: &Connection) -> Vec<Vec<Value>> {
    let tables: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let mut rows = Vec::new();
    for table in tables {
        rows.push(vec![Value::Text(table.clone())]);
        let mut query = db
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3"))
            .or_else(|_| db.prepare(&format!("SELECT * FROM {table} ORDER BY 1")))
            .unwrap();
        let columns = query.column_count();
        let found = query
            .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())
            .unwrap();
        rows.extend(found.collect::<rusqlite::Result<Vec<_>>>().unwrap());
    }
    rows
}

/// A database that is made from the records alone.
#[derive(Default)]
struct Replayed(Vec<Page>);

impl Replayed {
    fn apply(&mut self, changes: &Changes) {
        assert_eq!(self.0.len(), changes.size_before as usize);
        let none = Page::new([0xee; PAGE]);
        self.0.resize(changes.size as usize, none);
        for change in &changes.pages {
            let place = &mut self.0[change.number as usize - 1];
            if let Some(before) = &change.before {
                assert!(change.first_touch || before == place, "page {}", change.number);
            } else {
                assert!(change.first_touch);
            }
            assert!(change.before.as_ref() != Some(&change.after));
            *place = Arc::clone(&change.after);
        }
    }
}

fn random_sql(seed: u64) {
    let mut random = Random::new(seed);
    let mut fixture = Fixture::new();
    let plain = sqlite::open_memory(&nothing()).unwrap();
    let mut replayed = Replayed::default();
    plain.execute_batch(SCHEMA).unwrap();
    replayed.apply(&fixture.commit(SCHEMA));
    if seed.is_multiple_of(2) {
        fixture.run("PRAGMA cache_size = 5; PRAGMA cache_spill = 5").unwrap();
    }
    for _ in 0..60 {
        let sql = transaction(&mut random);
        for sql in &sql {
            let outcomes = (fixture.run(sql), run(&plain, sql));
            assert_eq!(outcomes.0.is_ok(), outcomes.1.is_ok(), "{sql}: {outcomes:?}");
            assert_eq!(fixture.db().is_autocommit(), plain.is_autocommit(), "{sql}");
            // Statements that follow in autocommit mode are transactions of their own.
            if plain.is_autocommit() {
                replayed.apply(&fixture.accept());
            } else if random.below(20) == 0 {
                fixture.write_back();
            }
        }
        match random.below(12) {
            0 => fixture.write_back(),
            1 => fixture.epoch += 1,
            2 => fixture.reopen(),
            3 => {
                assert!(content(fixture.db()) == content(&plain), "seed {seed}");
                fixture.check_integrity();
            }
            _ => {}
        }
    }
    fixture.check_integrity();
    assert!(content(fixture.db()) == content(&plain), "seed {seed}");
    fixture.write_back();
    check_records(&replayed, &plain, &fixture.path());
}

/// The records alone give a good database, and so does the file, with the same content.
fn check_records(replayed: &Replayed, plain: &Connection, file: &Path) {
    let made = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = replayed.0.iter().flat_map(|page| **page).collect();
    std::fs::write(made.path(), bytes).unwrap();
    for path in [made.path(), file] {
        let stock = Connection::open(path).unwrap();
        let check: String =
            stock.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        assert!(content(&stock) == content(plain));
    }
}

#[test]
fn random_sql_gives_the_same_as_on_a_plain_database() {
    let rounds = std::env::var("DURABLE_ROUNDS").ok().and_then(|text| text.parse().ok());
    for seed in 1..=rounds.unwrap_or(24) {
        random_sql(seed);
    }
}
