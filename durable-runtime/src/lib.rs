//! What runs durable objects: turns, gates, storage and lifecycle.
//!
//! Programs depend on the crate `durable`, which re-exports what is public here; the map of the
//! parts is in `ARCHITECTURE.md`. Dependencies point downwards: `runtime` and `namespace` use
//! `instance`, that uses `storage`, and that uses `engine`, which knows bytes and object ids and
//! never user types.

mod activity;
#[cfg(feature = "admin")]
pub mod admin;
mod alarm;
mod body;
mod bookmark;
mod builder;
mod call;
mod context;
mod copying;
mod engine;
mod error;
mod gate;
mod gate_handle;
mod handle;
mod handlers;
mod harness;
mod id;
mod instance;
mod message;
mod namespace;
mod node;
mod object;
mod observe;
mod outbox;
#[doc(hidden)]
pub mod remote;
mod rpc;
mod runtime;
mod schedule;
mod schema;
mod socket;
mod storage;
mod stub;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod trial;
mod wake;
mod wire;

pub use alarm::When::{self, After, At};
pub use body::{BODY_BYTES_MAX, Body};
pub use bookmark::{Bookmark, Restore};
pub use builder::{ALARM_LIMIT, BACKGROUND_LIMIT, Builder, GATE_LIMIT, IDLE_LIMIT};
pub use builder::{LONG_TURN, QUEUE_MAX, RESIDENT_BYTES_MAX, RESIDENTS_MAX};
pub use call::{Call, CallError};
pub use context::{Context, Scope};
pub use copying::Progress;
pub use engine::{Check, CheckProgress, CheckReport, Problem, ProblemKind, ProblemObject, check};
pub use error::{Constraint, Error, ErrorKind, Result};
pub use gate_handle::GateHandle;
pub use handle::Handle;
pub use handlers::{AlarmInfo, Request, Response};
pub use id::{Jurisdiction, LocationHint, NAME_BYTES_MAX, ObjectId};
pub use namespace::{Export, Exported, Fork, Snapshot, TakeSnapshot};
pub use namespace::{LIST_LIMIT, List, Namespace, ObjectInfo, Page};
pub use object::{BoxFuture, DurableObject, Handler, Handlers, MigrationInfo};
pub use runtime::{ClassInfo, Runtime};
pub use schedule::{
    Cron, CronIn, Every, FailedRun, Receiver, Recurrence, Schedule, TIMER_KEY_BYTES_MAX,
};
pub use socket::{Close, Message, SocketError, SocketState, Tags, WebSocket};
pub use socket::{SOCKET_ATTACHMENT_BYTES_MAX, SOCKET_AUTO_RESPONSE_BYTES_MAX};
pub use socket::{SOCKET_IDLE_PING, SOCKET_MESSAGE_BYTES_MAX, SOCKET_QUEUE_BYTES_MAX};
pub use socket::{SOCKET_TAG_BYTES_MAX, SOCKET_TAGS_MAX, SOCKETS_MAX};
pub use storage::{
    ColumnIndex, Cursor, DeadLetter, FailedAlarm, Migration, Params, Row, Sql, ToSql, Value,
};
pub use storage::{KV_BATCH_KEYS_MAX, KV_ENTRY_BYTES_MAX, KV_KEY_BYTES_MAX};
pub use storage::{Kv, KvKeys, KvList, KvRange, Outcome, Rollback};
pub use stub::{Fetch, ObjectStub};
pub use trial::{MigrationReport, MigrationTrial, check_migrations_on};
pub use wire::MESSAGE_BYTES_MAX;

/// What a transport of WebSockets needs: a server that calls `fetch` over a network. Not for users of objects.
#[doc(hidden)]
pub mod transport {
    pub use crate::runtime::Connection;
    pub use crate::socket::{CloseFrame, Incoming, Outgoing, PendingSocket, SocketDriver};
}

/// What `#[durable_object]` expands to. Not for people: it may change with any version.
#[doc(hidden)]
pub mod __private {
    #[doc(hidden)]
    pub use crate::__schema_of as schema_of;
    pub use crate::object::*;
    pub use crate::rpc::*;
    pub use crate::schema::*;
    pub use crate::stub::{ObjectStub, RawStub};
    #[cfg(feature = "json")]
    pub use crate::wire::json::{Argument, Given};
    pub use crate::wire::shape::{MethodShape, ShapeCell, Tracer, difference};
    pub use crate::wire::{Decoder, Encoder, WireError};
    pub use crate::{
        BoxFuture, Call, Context, DurableObject, Error, Fetch, Handle, Handler, Handlers,
        Migration, MigrationInfo, ObjectId, Request, Response, Result,
    };
}
