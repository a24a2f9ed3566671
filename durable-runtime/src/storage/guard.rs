//! What SQL of users may not do, on every connection.
//!
//! The guarantee: a user's statement cannot end the turn's transaction, reach another database, leave
//! temporary objects or settings behind, change how the file is kept, or see and touch `_durable_*` tables, also not
//! through views, triggers and virtual tables. It is refused with a text that says what to use instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::engine::sqlite::OURS;
use crate::{Error, ErrorKind, Result};

/// Names that start so belong to the framework.
pub(super) const RESERVED: &str = "_durable_";

/// The longest string, blob or row: one long step of SQLite cannot be interrupted. A value of 8 MiB fits
/// in a row with a few others.
const VALUE_BYTES_MAX: i32 = 8 * 1_024 * 1_024 + 34;

/// Pragmas that only look, change nothing (`foreign_keys`: enforcing cannot be switched off in a transaction), or end
/// with the transaction (`defer_foreign_keys`).
const PRAGMAS: [&str; 14] = [
    "data_version",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "index_info",
    "index_list",
    "index_xinfo",
    "optimize",
    "page_size",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that change how the connection works. They are set back when the turn ends.
const SETTINGS: [&str; 5] = [
    "case_sensitive_like",
    "ignore_check_constraints",
    "legacy_alter_table",
    "recursive_triggers",
    "reverse_unordered_selects",
];

/// Sets all [`SETTINGS`] back.
const RESET: &str = "PRAGMA case_sensitive_like = OFF; PRAGMA ignore_check_constraints = OFF; \
    PRAGMA legacy_alter_table = OFF; PRAGMA recursive_triggers = OFF; \
    PRAGMA reverse_unordered_selects = OFF;";

/// Functions that reach outside the database: an extension, a pointer of the process, its log.
const FUNCTIONS: [&str; 3] = ["fts3_tokenizer", "load_extension", "sqlite_log"];

/// Modules whose virtual tables keep all they hold in tables of the same database.
pub(super) const MODULES: [&str; 4] = ["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// What the authorizer saw in the statement that was prepared last.
mod seen {
    /// It may give a table another name.
    pub(super) const RENAME: u8 = 1;
    /// It defines what other statements refer to.
    pub(super) const DEFINITION: u8 = 2;
    pub(super) const REFUSAL: u8 = 4;
}

/// The state of one connection's authorizer. It is asked only while a statement is prepared.
#[derive(Debug, Default)]
pub(super) struct Guard {
    lifted: AtomicBool,
    seen: AtomicU8,
    /// Whether one of [`SETTINGS`] was set in this turn.
    unsettled: AtomicBool,
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
        self.seen.store(0, Ordering::Relaxed);
        if sql.trim_start().starts_with(OURS) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("a statement cannot start with the comment `{OURS}`"),
            ));
        }
        Ok(())
    }

    /// To be called when a user's statement is prepared: SQLite tells the authorizer neither to which name a table is
    /// renamed, nor to which one a foreign key refers, whose actions would then run with the framework's own statements.
    pub(super) fn check_names(&self, sql: &str) -> Result<()> {
        if !self.has_seen(seen::RENAME | seen::DEFINITION) {
            return Ok(());
        }
        // A column may have any name, as when its table is made.
        let sql = sql.to_ascii_lowercase();
        let renames = self.has_seen(seen::RENAME) && sql.contains("rename");
        if renames && sql.contains(RESERVED) || refers_to_reserved(&sql) {
            return Err(Error::new(ErrorKind::Refused, reserved()));
        }
        Ok(())
    }

    /// Whether the statement that was prepared defines a table, a view, a trigger or an index.
    pub(super) fn is_definition(&self) -> bool {
        self.has_seen(seen::DEFINITION)
    }

    /// What was refused since `start`.
    pub(super) fn take_refusal(&self) -> Option<String> {
        if self.has_seen(seen::REFUSAL) { self.refusal.lock().take() } else { None }
    }

    /// Sets back what pragmas have set since. To be called while no statement runs.
    pub(super) fn settle(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.unsettled.load(Ordering::Relaxed) {
            let _ours = self.lift();
            connection.execute_batch(RESET)?;
            self.unsettled.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn has_seen(&self, what: u8) -> bool {
        self.seen.load(Ordering::Relaxed) & what != 0
    }

    fn see(&self, what: u8) {
        self.seen.fetch_or(what, Ordering::Relaxed);
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.lifted.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        let refusal = match context.database_name {
            Some(database) if is_temporary(database, &context.action) => Some(temporary()),
            _ => refusal(&context.action),
        };
        if let Some(text) = refusal {
            if !self.has_seen(seen::REFUSAL) {
                self.see(seen::REFUSAL);
                *self.refusal.lock() = Some(text);
            }
            return Authorization::Deny;
        }
        self.note(&context.action);
        Authorization::Allow
    }

    fn note(&self, action: &AuthAction<'_>) {
        use AuthAction as A;
        match *action {
            A::AlterTable { .. } => self.see(seen::RENAME | seen::DEFINITION),
            A::CreateTable { .. }
            | A::CreateView { .. }
            | A::CreateTrigger { .. }
            | A::CreateIndex { .. } => self.see(seen::DEFINITION),
            // A pragma sets while it is prepared.
            A::Pragma { pragma_name, pragma_value: Some(_) }
                if is_one_of(&SETTINGS, pragma_name) =>
            {
                self.unsettled.store(true, Ordering::Relaxed);
            }
            _ => {}
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
    guard.unsettled.store(false, Ordering::Relaxed);
    let guard = Arc::clone(guard);
    connection.authorizer(Some(move |context: AuthContext<'_>| guard.authorize(&context)))
}

/// Why an action is refused to users, if it is.
fn refusal(action: &AuthAction<'_>) -> Option<String> {
    use AuthAction as A;
    match *action {
        A::Transaction { .. } | A::Savepoint { .. } => Some(
            "a turn is one transaction already: BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE are not \
             allowed; use `ctx.transaction(|| ..)`, or return an error to undo what the turn wrote"
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
        A::Function { function_name } => is_one_of(&FUNCTIONS, function_name).then(|| {
            format!(
                "{function_name} is not allowed: extensions cannot be loaded into an object's database, and SQL reaches nothing outside of it"
            )
        }),
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

pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
}

/// Whether a foreign key of a definition, in small letters, refers to a table of the framework's.
pub(super) fn refers_to_reserved(sql: &str) -> bool {
    sql.match_indices("references").any(|(at, word)| {
        let name = skip_blank(&sql[at + word.len()..]);
        is_reserved(name.trim_start_matches(['"', '`', '[', '\'']))
    })
}

/// The text after white space and comments, as SQLite understands those.
pub(super) fn skip_blank(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
        let end = match sql.get(..2) {
            Some("/*") => sql[2..].find("*/").map(|end| end + 4),
            Some("--") => sql.find('\n'),
            _ => return sql,
        };
        sql = end.map_or("", |end| &sql[end..]);
    }
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn refused_module(module: &str) -> Option<String> {
    (!is_one_of(&MODULES, module)).then(|| {
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
    if name.eq_ignore_ascii_case("page_size") && value.is_some() {
        return Some("PRAGMA page_size can only be read: pages have 4,096 bytes".into());
    }
    (!is_one_of(&PRAGMAS, name) && !is_one_of(&SETTINGS, name)).then(|| {
        format!(
            "PRAGMA {name} is not allowed: the runtime decides how a database is kept (allowed are \
             user_version to read, {}; for the rest of the turn {})",
            PRAGMAS.join(", "),
            SETTINGS.join(", ")
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
mod tests;
