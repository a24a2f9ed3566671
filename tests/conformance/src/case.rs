//! Files of recorded cases: steps, the operations in them, and what the reference implementation gave.
//!
//! A file is read as a whole before anything runs; what this version cannot run becomes
//! [`Step::NotYet`] or [`Action::NotYet`], and nothing else is passed over.

mod read;
mod sockets;

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::{Error, Result, ids};

pub(crate) use sockets::{ClientStep, CloseArguments, Offer, SocketAction, SocketScript, ops_in};

/// A file of cases.
#[derive(Debug, Deserialize)]
pub struct CaseFile {
    /// What the cases are about.
    pub area: String,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

/// Steps, and what each gave.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// What it is about.
    #[serde(default)]
    pub doc: String,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
    /// The recorded result of each step. Not for those who execute.
    pub expect: Vec<Json>,
}

/// Something that a case does from outside the objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Json")]
pub enum Step {
    /// One call.
    Call(Call),
    /// Calls that start together, each through a stub of its own.
    Together(Vec<Call>),
    /// Calls through one stub.
    OnStub {
        /// Whether they start together, or each when the one before is answered.
        together: bool,
        /// The calls, all to the same object.
        calls: Vec<Call>,
    },
    /// Operations on ids.
    Ids(Vec<Json>),
    /// Something that a client of a WebSocket does.
    Client {
        /// Which client of the case.
        client: String,
        /// What it does.
        step: ClientStep,
    },
    /// Says what an object does by itself: its alarm, its constructor and the handlers of its sockets.
    Script {
        /// Which object of the case.
        object: String,
        /// What it does.
        script: Script,
    },
    /// Shows the events of an object.
    Log {
        /// Of this object.
        object: String,
        /// Whether to forget them then.
        clear: bool,
        /// How long to wait for them first.
        wait: Option<Wait>,
    },
    /// Lets so many milliseconds pass.
    Sleep(u64),
    /// Drops an object's instance as soon as nothing needs it any more.
    Evict(String),
    /// Drops all instances.
    EvictAll,
    /// Aborts all objects.
    AbortAll,
    /// Stops the runtime and starts it again on the same disk.
    Restart {
        /// Whether it is killed.
        kill: bool,
    },
    /// Starts a call and goes on.
    Begin {
        /// The call.
        call: Call,
        /// What it is called until it is joined.
        id: String,
        /// Milliseconds that pass then.
        after: u64,
    },
    /// Waits for a call that was started.
    Join(String),
    /// A step of a kind that the replayer does not know yet.
    NotYet(String),
}

/// A call: operations that the object interprets.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which object of the case.
    pub object: String,
    /// Of which class it is.
    pub class: Class,
    /// Whether it is a new object with an id of its own.
    pub unique: bool,
    /// What it does.
    pub ops: Ops,
}

/// The classes that the cases name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// That of almost all objects.
    Main,
    /// One without an `alarm` handler.
    NoAlarm,
}

/// How long to wait for events, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Wait {
    /// For so many events.
    #[serde(rename = "n")]
    pub events: usize,
    /// At most so long.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// And then so long, for more than there should be.
    #[serde(default = "default_settle")]
    pub settle: u64,
}

fn default_timeout() -> u64 {
    5_000
}

fn default_settle() -> u64 {
    100
}

/// What an object does by itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Script {
    /// What each run of its alarm does; the last one repeats.
    #[serde(default)]
    pub(crate) alarm: Vec<Ops>,
    /// What its constructor does.
    #[serde(rename = "ctor")]
    pub(crate) constructor: Option<Constructor>,
    /// What its handlers of sockets do.
    #[serde(rename = "ws", default)]
    pub(crate) sockets: SocketScript,
}

/// What a constructor does.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Constructor {
    pub(crate) ops: Ops,
    /// Whether it does it in its own turn, not behind a closed gate.
    #[serde(default)]
    pub(crate) sync: bool,
    /// Whether only the next one does.
    #[serde(default)]
    pub(crate) once: bool,
    /// What it fails with.
    #[serde(rename = "syncThrow")]
    pub(crate) fails_with: Option<String>,
}

/// Operations, in order.
pub(crate) type Ops = Arc<[Op]>;

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Json")]
pub struct Op {
    /// What to do.
    pub action: Action,
    /// How the case writes it, for reports and rules.
    pub json: Json,
}

/// What an operation does.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op")]
pub enum Action {
    #[serde(rename = "kv.get", alias = "skv.get")]
    Get { key: Option<Json>, keys: Option<Json> },
    #[serde(rename = "kv.put", alias = "skv.put")]
    Put {
        key: Option<Json>,
        #[serde(default = "undefined")]
        value: Json,
        entries: Option<Json>,
    },
    #[serde(rename = "kv.delete", alias = "skv.delete")]
    Delete { key: Option<Json>, keys: Option<Json> },
    #[serde(rename = "kv.list", alias = "skv.list")]
    List {
        #[serde(default)]
        opts: Json,
    },
    #[serde(rename = "kv.sync")]
    Sync {},
    #[serde(rename = "deleteAll")]
    DeleteAll {},
    #[serde(rename = "sql")]
    Sql {
        query: Json,
        #[serde(default)]
        params: Json,
        #[serde(default)]
        mode: SqlMode,
        #[serde(rename = "as", default)]
        cursor: String,
    },
    #[serde(rename = "sql.cursor")]
    Cursor {
        #[serde(rename = "do")]
        verb: CursorVerb,
        #[serde(rename = "c", default)]
        cursor: String,
    },
    #[serde(rename = "sql.size")]
    Size {
        #[serde(default)]
        exact: bool,
    },
    #[serde(rename = "sql.size_cmp")]
    CompareSize {},
    #[serde(rename = "txnSync")]
    Transaction {
        ops: Ops,
        ret: Option<Json>,
        #[serde(default)]
        rethrow: bool,
        #[serde(default, rename = "returnPromise")]
        returns_promise: bool,
    },
    #[serde(rename = "txn")]
    AsyncTransaction {
        ops: Ops,
        ret: Option<Json>,
        #[serde(default)]
        rethrow: bool,
    },
    #[serde(rename = "txn.rollback")]
    Rollback {},
    #[serde(rename = "alarm.set")]
    SetAlarm {
        #[serde(alias = "date")]
        at: Option<Json>,
        in_ms: Option<f64>,
        at_label: Option<String>,
        #[serde(rename = "as")]
        label: Option<String>,
    },
    #[serde(rename = "alarm.get")]
    GetAlarm {},
    #[serde(rename = "alarm.delete")]
    DeleteAlarm {},
    #[serde(rename = "bookmark.current")]
    CurrentBookmark {},
    #[serde(rename = "bookmark.at")]
    BookmarkAt { ago_ms: u64 },
    #[serde(rename = "bookmark.restore")]
    Restore {},
    #[serde(rename = "abort")]
    Abort {
        #[serde(default = "no_reason")]
        reason: String,
    },
    #[serde(rename = "bcw")]
    Block { ops: Ops, ret: Option<Json> },
    #[serde(rename = "waitUntil")]
    WaitUntil {
        #[serde(default)]
        ms: u64,
        ops: Ops,
    },
    #[serde(rename = "throw")]
    Throw {
        #[serde(default)]
        message: String,
        #[serde(rename = "type", default)]
        class: String,
    },
    #[serde(rename = "instance")]
    Instance {},
    #[serde(rename = "mem.set")]
    Remember {
        #[serde(default = "undefined")]
        value: Json,
    },
    #[serde(rename = "mem.get")]
    Recall {},
    #[serde(rename = "trace")]
    Trace { v: Json },
    #[serde(rename = "log")]
    Log {},
    #[serde(rename = "id")]
    Id {},
    #[serde(rename = "microtask")]
    Microtask {},
    #[serde(rename = "sleep")]
    Sleep { ms: u64 },
    #[serde(rename = "call")]
    Call { obj: String, ops: Ops },
    #[serde(rename = "par")]
    Branches { branches: Vec<Ops> },
    #[serde(skip)]
    Socket(SocketAction),
    /// None that the recorder's interpreter knew either.
    #[serde(rename = "no.such.op")]
    Unknown {},
    #[serde(other)]
    NotYet,
}

fn no_reason() -> String {
    "the application called abort".to_owned()
}

/// How the result of a query is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlMode {
    #[default]
    Array,
    One,
    Raw,
    Columns,
    None,
    Count,
    Len,
    Counters,
    Counters0,
    Next,
    NextThenArray,
    ArrayTwice,
    Keep,
    #[serde(other)]
    NotYet,
}

/// What is done with a cursor that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorVerb {
    Next,
    Array,
    Raw,
    One,
    Columns,
    #[serde(other)]
    NotYet,
}

fn undefined() -> Json {
    crate::value::Value::undefined().record()
}

impl CaseFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or has not the form of a file of cases.
    pub fn read(path: &Path) -> Result<CaseFile> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::File { path: path.into(), reason: error.to_string() })?;
        CaseFile::parse(&text)
            .map_err(|reason| Error::File { path: path.into(), reason: reason.to_string() })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it has not the form of a file of cases.
    pub fn parse(text: &str) -> serde_json::Result<CaseFile> {
        let file: CaseFile = serde_json::from_str(&read::mark_lone_surrogates(text))?;
        match file.cases.iter().find(|case| case.steps.len() != case.expect.len()) {
            None => Ok(file),
            Some(case) => Err(serde::de::Error::custom(format_args!(
                "case {} has {} steps and {} results",
                case.name,
                case.steps.len(),
                case.expect.len()
            ))),
        }
    }
}

impl Case {
    /// The first step or operation of a kind that cannot be run yet.
    pub fn not_yet(&self) -> Option<String> {
        self.steps.iter().find_map(|step| match step {
            Step::NotYet(kind) => Some(format!("step {kind}")),
            Step::Call(call) | Step::Begin { call, .. } => not_yet_in(&call.ops),
            Step::Together(calls) | Step::OnStub { calls, .. } => {
                calls.iter().find_map(|call| not_yet_in(&call.ops))
            }
            Step::Ids(ops) => ops.iter().find_map(|op| {
                let kind = op.get("op").and_then(Json::as_str).unwrap_or_default();
                (!ids::KINDS.contains(&kind)).then(|| format!("id {kind}"))
            }),
            Step::Client { step: ClientStep::Send(message), .. } => {
                let ops = message.as_str().and_then(ops_in);
                ops.and_then(|ops| not_yet_in(&ops))
            }
            Step::Script { script, .. } => {
                let constructor = script.constructor.iter().map(|constructor| &constructor.ops);
                script.alarm.iter().chain(constructor).find_map(|ops| not_yet_in(ops))
            }
            Step::Client { .. }
            | Step::Log { .. }
            | Step::Sleep(_)
            | Step::Evict(_)
            | Step::EvictAll
            | Step::AbortAll
            | Step::Restart { .. }
            | Step::Join(_) => None,
        })
    }
}

fn not_yet_in(ops: &[Op]) -> Option<String> {
    ops.iter().find_map(|op| match &op.action {
        Action::NotYet
        | Action::Sql { mode: SqlMode::NotYet, .. }
        | Action::Cursor { verb: CursorVerb::NotYet, .. } => Some(op.kind().to_owned()),
        Action::Branches { branches } => branches.iter().find_map(|ops| not_yet_in(ops)),
        _ => not_yet_in(op.inner()),
    })
}

impl Op {
    /// The name of its kind in the files.
    pub fn kind(&self) -> &str {
        self.json.get("op").and_then(Json::as_str).unwrap_or_default()
    }

    /// Whether a flag such as `nowait` or `propagate` is set.
    pub fn flag(&self, name: &str) -> bool {
        self.json.get(name).and_then(Json::as_bool).unwrap_or_default()
    }

    /// Whether it is an async operation, which gives a promise.
    pub fn is_promise(&self) -> bool {
        matches!(
            self.action,
            Action::AsyncTransaction { .. } | Action::DeleteAll {} | Action::Sleep { .. }
        ) || self.kind().starts_with("kv.")
            || self.kind().starts_with("alarm.")
    }

    /// The operations that it holds, if it is a transaction, a call or the like.
    pub fn inner(&self) -> &[Op] {
        match &self.action {
            Action::Transaction { ops, .. }
            | Action::AsyncTransaction { ops, .. }
            | Action::Block { ops, .. }
            | Action::WaitUntil { ops, .. }
            | Action::Call { ops, .. } => ops,
            _ => &[],
        }
    }

    /// Whether the object lets others in while it runs, so that no turn can hold it.
    pub fn is_awaited(&self) -> bool {
        matches!(
            self.action,
            Action::Sync {}
                | Action::Sleep { .. }
                | Action::Call { .. }
                | Action::Branches { .. }
                | Action::Block { .. }
        )
    }
}

impl From<Json> for Op {
    fn from(json: Json) -> Op {
        let socket = SocketAction::deserialize(&json).map(Action::Socket);
        let action = socket.or_else(|_| Action::deserialize(&json)).unwrap_or(Action::NotYet);
        Op { action, json }
    }
}
