//! Who the object in a database is, by its own word: the table `_durable_meta`, which `storage` writes; and when it wants to be
//! woken.
//!
//! The engine asks for it when no caller is there who knows: when it checks a directory, and when it rebuilds the
//! catalogue.

use rusqlite::{Connection, OptionalExtension};

use super::{ObjectKey, Wake};

/// The form of the `_durable_*` tables that this program writes.
pub(crate) const META_FORMAT: i64 = 1;

/// What an object may have to do by itself; each kind has tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Alarm,
    Timers,
    Messages,
    LaterMessages,
    DeadLetters,
    Expiry,
}

/// When each kind of work wants the object woken, and whether some of it was given up. Cached, so each begins as no
/// statement of a user's may.
pub(crate) const WAKES: [(Work, &str); 6] = [
    (
        Work::Alarm,
        "/*durable*/SELECT min(due) FILTER (WHERE slot = 0), count(*) FILTER (WHERE slot = 1) \
         FROM _durable_alarm",
    ),
    (
        Work::Timers,
        "/*durable*/SELECT min(due), \
         EXISTS (SELECT 1 FROM _durable_timers WHERE due IS NULL) FROM _durable_timers",
    ),
    (Work::Messages, "/*durable*/SELECT min(due), 0 FROM _durable_receivers WHERE due IS NOT NULL"),
    (
        Work::LaterMessages,
        "/*durable*/SELECT min(due), 0 FROM _durable_outbox WHERE number IS NULL",
    ),
    (Work::DeadLetters, "/*durable*/SELECT NULL, EXISTS (SELECT 1 FROM _durable_dead_letters)"),
    (Work::Expiry, "/*durable*/SELECT min(due), 0 FROM _durable_expiry"),
];

/// Kinds of work that an object is known not to have: their tables are not made yet, and to ask for them costs as much as
/// to read others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Absent(u8);

impl Absent {
    pub(crate) fn has(self, work: Work) -> bool {
        self.0 & 1 << work as u8 != 0
    }

    fn add(&mut self, work: Work) {
        self.0 |= 1 << work as u8;
    }
}

/// What the object waits for. `storage` makes each of those tables when it is first needed; the ones that are not there
/// are added to `absent`.
pub(crate) fn read_wake(connection: &Connection, absent: &mut Absent) -> rusqlite::Result<Wake> {
    let mut wake = Wake::default();
    for (work, sql) in WAKES {
        if absent.has(work) {
            continue;
        }
        let row = connection.prepare_cached(sql).and_then(|mut read| {
            read.query_row([], |row| Ok((row.get(0)?, row.get::<_, bool>(1)?)))
        });
        let (time_ms, has_given_up): (Option<i64>, bool) = match row {
            Err(error) if is_no_table(&error) => {
                absent.add(work);
                continue;
            }
            other => other?,
        };
        wake.time_ms = [wake.time_ms, time_ms].into_iter().flatten().min();
        wake.has_given_up |= has_given_up;
    }
    Ok(wake)
}

/// Whether a statement failed because a table of the framework's has not been needed so far.
pub(crate) fn is_no_table(error: &rusqlite::Error) -> bool {
    error.to_string().starts_with("no such table: _durable_")
}

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) class: String,
    pub(super) id: Vec<u8>,
    pub(super) name: Option<String>,
    pub(super) location_hint: Option<String>,
    pub(super) created_ms: i64,
    pub(super) format: i64,
}

impl Meta {
    /// The one row, if there is one.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Meta>> {
        let sql = "SELECT class, id, name, location_hint, created, format FROM _durable_meta";
        let row = connection.query_row(sql, [], |row| {
            Ok(Meta {
                class: row.get(0)?,
                id: row.get(1)?,
                name: row.get(2)?,
                location_hint: row.get(3)?,
                created_ms: row.get(4)?,
                format: row.get(5)?,
            })
        });
        row.optional()
    }

    /// Whether it is this object.
    pub(super) fn is_of(&self, key: &ObjectKey) -> bool {
        self.class == *key.class && self.id == key.id.as_bytes()
    }
}
