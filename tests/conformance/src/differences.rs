//! The deliberate differences: rules that say which results may differ, and why.
//!
//! A rule decides by what was done and how the results differ, never by the name of a case. There are two
//! sorts. For an [*emulated*](Rule::is_emulated) one the case is run again with an interpreter that does in this one
//! point as the reference does, and then all results must be the recorded ones. The others look at
//! one operation, the recorded result and ours; [`Facts`] holds what an excused difference leaves
//! behind, such as a key that was not stored. Every rule has a section in `docs/differences.md`.

mod facts;
mod queries;
mod shadow;

use serde::{Deserialize, Serialize};

pub(crate) use facts::Facts;

/// A deliberate difference. At most twelve, those of alarms and sockets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// An error that leaves a method undoes what the method wrote.
    TurnIsATransaction,
    /// A statement has run to its end and a cursor owns its rows.
    RowsAreReadAtOnce,
    /// No transaction is held open over an await.
    NoAsyncTransaction,
    /// `true` and `false` are the integers 1 and 0.
    BooleansAreIntegers,
    /// Limits of keys, values, batches and names hold everywhere.
    LimitsOfStorage,
    /// SQLite has its own limits and functions, not smaller ones.
    SqliteAsItIs,
    /// What undoes or spoils a turn is an error of that turn.
    NothingBreaksTheObject,
    /// What the runtime keeps in an object's database: its tables, and the version of the schema.
    OwnNotes,
    /// An alarm runs when it was last set for, and is what the turns left.
    AlarmsAreAsSet,
    /// The runtime ends what a client has ended, and every socket hibernates.
    SocketsAreSeenTo,
    /// Values that only JavaScript has.
    JavaScriptValues,
    /// Figures that say something only about the implementation.
    Figures,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 12] = [
        Rule::TurnIsATransaction,
        Rule::RowsAreReadAtOnce,
        Rule::NoAsyncTransaction,
        Rule::BooleansAreIntegers,
        Rule::LimitsOfStorage,
        Rule::SqliteAsItIs,
        Rule::NothingBreaksTheObject,
        Rule::OwnNotes,
        Rule::AlarmsAreAsSet,
        Rule::SocketsAreSeenTo,
        Rule::JavaScriptValues,
        Rule::Figures,
    ];

    /// Its heading in `docs/differences.md`.
    pub fn title(self) -> &'static str {
        match self {
            Rule::TurnIsATransaction => "A turn is a transaction",
            Rule::RowsAreReadAtOnce => "Rows are read at once",
            Rule::NoAsyncTransaction => "No transaction over an await",
            Rule::BooleansAreIntegers => "Booleans are integers",
            Rule::LimitsOfStorage => "Limits of storage",
            Rule::SqliteAsItIs => "SQLite as it is",
            Rule::NothingBreaksTheObject => "Nothing breaks the object",
            Rule::OwnNotes => "The runtime's own notes",
            Rule::AlarmsAreAsSet => "Alarms are as they were set",
            Rule::SocketsAreSeenTo => "Sockets are seen to",
            Rule::JavaScriptValues => "Values of JavaScript",
            Rule::Figures => "Figures",
        }
    }

    /// Whether a case is run again with the reference's behaviour in this point.
    pub fn is_emulated(self) -> bool {
        matches!(
            self,
            Rule::TurnIsATransaction
                | Rule::RowsAreReadAtOnce
                | Rule::NoAsyncTransaction
                | Rule::BooleansAreIntegers
                | Rule::NothingBreaksTheObject
                | Rule::AlarmsAreAsSet
                | Rule::SocketsAreSeenTo
        )
    }
}
