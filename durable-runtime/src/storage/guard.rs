//! What SQL of users may not do, on every connection.
//!
//! The guarantee: a user's statement cannot end the turn's transaction, reach another database, leave
//! temporary objects behind, change how the file is kept, or see and touch `_durable_*` tables, also not
//! through views, triggers and virtual tables. It is refused with a text that says what to use instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::engine::sqlite::OURS;
use crate::{Error, ErrorKind, Result};

/// Names that start so belong to the framework.
const RESERVED: &str = "_durable_";

/// The longest string, blob or row: one long step of SQLite cannot be interrupted.
const VALUE_BYTES_MAX: i32 = 8 * 1_024 * 1_024;

/// Pragmas that only look, or change what is the user's own affair.
const PRAGMAS: [&str; 19] = [
    "case_sensitive_like",
    "data_version",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "ignore_check_constraints",
    "index_info",
    "index_list",
    "index_xinfo",
    "legacy_alter_table",
    "optimize",
    "page_size",
    "quick_check",
    "recursive_triggers",
    "reverse_unordered_selects",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Modules whose virtual tables keep all they hold in tables of the same database.
const MODULES: [&str; 4] = ["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// The state of one connection's authorizer. It is asked only while a statement is prepared.
#[derive(Debug, Default)]
pub(super) struct Guard {
    lifted: AtomicBool,
    altered: AtomicBool,
    refusal: Mutex<Option<String>>,
}

/// While it lives, statements are the framework's own.
pub(super) struct Lifted<'a>(&'a Guard);

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.0.lifted.store(false, Ordering::Relaxed);
    }
}

impl Guard {
    /// Lets everything pass until the returned value is dropped. Not to be nested.
    pub(super) fn lift(&self) -> Lifted<'_> {
        self.lifted.store(true, Ordering::Relaxed);
        Lifted(self)
    }

    /// To be called before a user's statement is prepared.
    pub(super) fn start(&self, sql: &str) -> Result<()> {
        self.altered.store(false, Ordering::Relaxed);
        self.refusal.lock().take();
        if sql.trim().starts_with(OURS) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("a statement cannot start with the comment `{OURS}`"),
            ));
        }
        Ok(())
    }

    /// To be called when a user's statement is prepared: SQLite does not tell the authorizer to which name
    /// a table is renamed.
    pub(super) fn check_renames(&self, sql: &str) -> Result<()> {
        let altered = self.altered.load(Ordering::Relaxed);
        if altered && sql.to_ascii_lowercase().contains(RESERVED) {
            return Err(Error::new(ErrorKind::Refused, reserved()));
        }
        Ok(())
    }

    /// What was refused since `start`.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().take()
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.lifted.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        if matches!(context.action, AuthAction::AlterTable { .. }) {
            self.altered.store(true, Ordering::Relaxed);
        }
        let refusal = match context.database_name {
            Some(database) if is_temporary(database, &context.action) => Some(temporary()),
            _ => refusal(&context.action),
        };
        match refusal {
            None => Authorization::Allow,
            Some(text) => {
                self.refusal.lock().get_or_insert(text);
                Authorization::Deny
            }
        }
    }
}

/// Puts a guard on a new connection, and sets what else keeps it safe.
pub(super) fn install(guard: &Arc<Guard>, connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    let guard = Arc::clone(guard);
    connection.authorizer(Some(move |context: AuthContext<'_>| guard.authorize(&context)))
}

/// Why an action is refused to users, if it is.
fn refusal(action: &AuthAction<'_>) -> Option<String> {
    use AuthAction as A;
    match *action {
        A::Transaction { .. } | A::Savepoint { .. } => Some(
            "a turn is one transaction already: BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE are not \
             allowed; return an error to undo what the turn wrote"
                .into(),
        ),
        A::Attach { .. } | A::Detach { .. } => Some(attach()),
        A::Unknown { code, .. } if code == rusqlite::ffi::SQLITE_ATTACH => Some(attach()),
        A::Unknown { code, .. } => Some(format!("this SQL is not allowed (action {code})")),
        A::CreateTempIndex { .. }
        | A::CreateTempTable { .. }
        | A::CreateTempTrigger { .. }
        | A::CreateTempView { .. }
        | A::DropTempIndex { .. }
        | A::DropTempTable { .. }
        | A::DropTempTrigger { .. }
        | A::DropTempView { .. } => Some(temporary()),
        A::Pragma { pragma_name, pragma_value } => refused_pragma(pragma_name, pragma_value),
        A::Function { function_name } if function_name.eq_ignore_ascii_case("load_extension") => Some(
            "load_extension is not allowed: extensions cannot be loaded into an object's database"
                .into(),
        ),
        A::CreateVtable { table_name, module_name } => is_reserved(table_name)
            .then(reserved)
            .or_else(|| refused_module(module_name)),
        A::Read { table_name, .. } if table_name.eq_ignore_ascii_case("dbstat") => {
            refused_module("dbstat")
        }
        _ => names(action).into_iter().any(is_reserved).then(reserved),
    }
}

fn attach() -> String {
    "ATTACH and DETACH are not allowed: an object has one database; call another object for its data"
        .into()
}

/// `CREATE TABLE temp.x` is reported as a plain `CREATE TABLE`, in another database, and `CREATE
/// TRIGGER temp.x` only by the row that it inserts into that database's schema.
fn is_temporary(database: &str, action: &AuthAction<'_>) -> bool {
    let creates = matches!(
        action,
        AuthAction::CreateTable { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateIndex { .. }
            | AuthAction::CreateVtable { .. }
            | AuthAction::Insert { .. }
    );
    creates && database.eq_ignore_ascii_case("temp")
}

fn temporary() -> String {
    "temporary tables, views and triggers are not allowed: use a table, or a WITH clause".into()
}

fn reserved() -> String {
    format!(
        "tables and other names that start with `{RESERVED}` belong to the runtime: use another name"
    )
}

fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
}

fn refused_module(module: &str) -> Option<String> {
    let allowed = MODULES.iter().any(|name| name.eq_ignore_ascii_case(module));
    (!allowed).then(|| {
        format!("virtual tables of `{module}` are not allowed: there are {}", MODULES.join(", "))
    })
}

fn refused_pragma(name: &str, value: Option<&str>) -> Option<String> {
    if name.eq_ignore_ascii_case("user_version") {
        return value.map(|_| {
            "PRAGMA user_version shows the object's schema version and cannot be set: \
             add a migration, `#[migration(n)]`"
                .into()
        });
    }
    let allowed = PRAGMAS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    (!allowed).then(|| {
        format!(
            "PRAGMA {name} is not allowed: the runtime decides how a database is kept (allowed are \
             user_version to read, {})",
            PRAGMAS.join(", ")
        )
    })
}

/// The names that an action touches. Reading our tables' statistics is let pass, so that a plain
/// ANALYZE works.
fn names<'a>(action: &AuthAction<'a>) -> Vec<&'a str> {
    use AuthAction as A;
    match *action {
        A::CreateIndex { index_name: name, table_name }
        | A::DropIndex { index_name: name, table_name }
        | A::CreateTrigger { trigger_name: name, table_name }
        | A::DropTrigger { trigger_name: name, table_name } => vec![name, table_name],
        A::CreateView { view_name: name }
        | A::DropView { view_name: name }
        | A::CreateTable { table_name: name }
        | A::DropTable { table_name: name }
        | A::DropVtable { table_name: name, .. }
        | A::AlterTable { table_name: name, .. }
        | A::Insert { table_name: name }
        | A::Update { table_name: name, .. }
        | A::Delete { table_name: name }
        | A::Read { table_name: name, .. } => vec![name],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::turn_on_scratch;

    /// Statements that are refused, and a part of what the error says.
    const REFUSED: &[(&str, &str)] = &[
        ("BEGIN", "a turn is one transaction"),
        ("COMMIT", "a turn is one transaction"),
        ("END", "a turn is one transaction"),
        ("ROLLBACK", "return an error to undo"),
        ("SAVEPOINT s", "a turn is one transaction"),
        ("RELEASE s", "a turn is one transaction"),
        ("ATTACH ':memory:' AS other", "call another object"),
        ("ATTACH printf('x') AS other", "call another object"),
        ("DETACH main", "call another object"),
        ("CREATE TEMP TABLE x (a)", "use a table"),
        ("CREATE TABLE temp.x (a)", "use a table"),
        ("CREATE VIEW temp.x AS SELECT 1", "use a table"),
        ("CREATE TRIGGER temp.x AFTER INSERT ON t BEGIN SELECT 1; END", "use a table"),
        ("CREATE VIRTUAL TABLE temp.x USING fts5(a)", "use a table"),
        ("CREATE TABLE TEMP.x AS SELECT 1", "use a table"),
        ("CREATE TEMP VIEW x AS SELECT 1", "use a table"),
        ("CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", "use a table"),
        ("CREATE TABLE _durable_x (a)", "belong to the runtime"),
        ("CREATE TABLE _DURABLE_X (a)", "belong to the runtime"),
        ("CREATE VIEW _durable_x AS SELECT 1", "belong to the runtime"),
        ("CREATE INDEX _durable_x ON t (a)", "belong to the runtime"),
        ("CREATE INDEX x ON _durable_kv (value)", "belong to the runtime"),
        (
            "CREATE TRIGGER _durable_x AFTER INSERT ON t BEGIN SELECT 1; END",
            "belong to the runtime",
        ),
        (
            "CREATE TRIGGER x AFTER INSERT ON _durable_kv BEGIN SELECT 1; END",
            "belong to the runtime",
        ),
        ("CREATE VIRTUAL TABLE _durable_x USING fts5(a)", "belong to the runtime"),
        ("ALTER TABLE t RENAME TO _durable_x", "belong to the runtime"),
        ("/**/ALTER TABLE t RENAME TO \"_DURABLE_x\"", "belong to the runtime"),
        ("ALTER TABLE _durable_kv ADD COLUMN x", "belong to the runtime"),
        ("DROP TABLE _durable_kv", "belong to the runtime"),
        ("INSERT INTO _durable_kv VALUES ('a', x'')", "belong to the runtime"),
        ("UPDATE _durable_kv SET value = x''", "belong to the runtime"),
        ("DELETE FROM _durable_kv", "belong to the runtime"),
        ("SELECT value FROM _durable_kv", "belong to the runtime"),
        ("SELECT count(*) FROM _durable_kv", "belong to the runtime"),
        ("SELECT * FROM peek", "belong to the runtime"),
        ("INSERT INTO spy VALUES (1)", "belong to the runtime"),
        ("SELECT * FROM stolen", "belong to the runtime"),
        ("SELECT load_extension('x')", "extensions cannot be loaded"),
        ("SELECT * FROM dbstat", "virtual tables of `dbstat`"),
        ("CREATE VIRTUAL TABLE x USING dbstat", "virtual tables of `dbstat`"),
        ("PRAGMA user_version = 7", "add a migration"),
        ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode is not allowed"),
        ("PRAGMA synchronous = OFF", "PRAGMA synchronous is not allowed"),
        ("PRAGMA writable_schema = ON", "PRAGMA writable_schema is not allowed"),
        ("PRAGMA unheard_of", "PRAGMA unheard_of is not allowed"),
        ("SELECT * FROM pragma_journal_mode", "PRAGMA journal_mode is not allowed"),
        ("/*durable*/COMMIT", "cannot start with the comment"),
        ("  /*durable*/BEGIN ", "cannot start with the comment"),
    ];

    const ALLOWED: &[&str] = &[
        "CREATE TABLE x (_durable_column)",
        "SELECT 1 AS _durable_alias",
        "ALTER TABLE t RENAME TO x",
        "ALTER TABLE t ADD COLUMN x",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "CREATE VIRTUAL TABLE x USING rtree(id, low, high)",
        "SELECT name FROM sqlite_schema",
        "SELECT name FROM sqlite_temp_schema",
        "PRAGMA table_info(t)",
        "SELECT * FROM pragma_table_info('t')",
        "PRAGMA user_version",
        "PRAGMA defer_foreign_keys = ON",
        "PRAGMA optimize",
        "PRAGMA quick_check",
        "ANALYZE",
        "REINDEX",
        "EXPLAIN SELECT * FROM t",
        "SELECT \"hello\"",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
    ];

    const SETUP: &str = "CREATE TABLE t (a); CREATE TABLE spied (a);
        CREATE TABLE spy (a);
        CREATE TRIGGER leak AFTER INSERT ON spy BEGIN INSERT INTO _durable_kv VALUES ('k', x''); END;
        CREATE VIEW peek AS SELECT value FROM _durable_kv;
        CREATE VIRTUAL TABLE stolen USING fts5(value, content = '_durable_kv', content_rowid = 'key');";

    #[test]
    fn what_is_refused() {
        for (sql, expected) in REFUSED {
            turn_on_scratch(|store| {
                store.kv().put("k", &1).unwrap();
                store.sql().execute_batch(SETUP).unwrap();
                for result in [
                    store.sql().execute(sql, []),
                    store.sql().execute(sql, []),
                    store.sql().query_all::<()>(sql, []).map(|rows| rows.len()),
                ] {
                    let error = result.expect_err(sql);
                    assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
                    assert!(error.message().contains(expected), "{sql}: {error}");
                }
                if !sql.contains(OURS) {
                    let error = store.sql().execute_batch(sql).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Refused, "{sql}: {error}");
                }
                assert_eq!(store.doomed(), None, "{sql}");
                assert_eq!(store.kv().get("k").unwrap(), Some(1), "{sql}");
            });
        }
    }

    #[test]
    fn what_is_allowed() {
        for sql in ALLOWED {
            turn_on_scratch(|store| {
                store.kv().put("k", &1).unwrap();
                store.sql().execute_batch("CREATE TABLE t (a)").unwrap();
                if let Err(error) = store.sql().execute_batch(sql) {
                    panic!("{sql}: {error}");
                }
            });
        }
    }

    #[test]
    fn a_statement_of_ours_is_not_lent_to_users() {
        turn_on_scratch(|store| {
            store.kv().put("k", &1).unwrap();
            let connection = store.enter().unwrap();
            // The cache knows the text, and would give it to anybody.
            assert!(connection.prepare_cached("/*durable*/BEGIN").is_ok());
            let error = store.sql().execute("/*durable*/BEGIN", []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
        });
    }

    #[test]
    fn foreign_keys_are_on_and_the_schema_is_not_trusted() {
        turn_on_scratch(|store| {
            let sql = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)";
            store.sql().execute_batch(sql).unwrap();
            let error = store.sql().execute("INSERT INTO c VALUES (1)", []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Constraint);
            let error = store.sql().execute("DELETE FROM sqlite_schema", []).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Sql, "{error}");
        });
    }
}
