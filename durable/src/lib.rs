#![doc = include_str!("../../README.md")]
//!
//! # The parts
//!
//! - [`durable_object`] on an `impl` makes the object; [`rules`] explains every error it gives.
//! - [`Runtime`] opens a data directory; [`Namespace`] makes ids and stubs.
//! - [`Context`] is all that a turn can do; [`Handle`] makes turns from async code.
//! - [`Call`] is a call as a value; [`CallError`] says why it gave none.
#![cfg_attr(
    feature = "testing",
    doc = "- [`testing`] has what objects are tested with, with the feature `testing`."
)]
#![cfg_attr(
    not(feature = "testing"),
    doc = "- `testing` has what objects are tested with, with the feature `testing`."
)]
#![cfg_attr(
    feature = "http",
    doc = "- [`http`] lets objects be reached over HTTP, with the feature `http`."
)]
#![cfg_attr(
    not(feature = "http"),
    doc = "- `http` lets objects be reached over HTTP, with the feature `http`."
)]
#![cfg_attr(
    feature = "client",
    doc = "- [`Client`] calls objects on a server, with the feature `client`."
)]
#![cfg_attr(
    not(feature = "client"),
    doc = "- `Client` calls objects on a server, with the feature `client`."
)]
#![cfg_attr(
    feature = "admin",
    doc = "- [`admin`] lets operators look into objects and repair them, with the feature `admin`."
)]
#![cfg_attr(
    not(feature = "admin"),
    doc = "- `admin` lets operators look into objects and repair them, with the feature `admin`."
)]
//! - [`guide`] says what to keep where, how to wait for the world, and what Workers' calls are called here.

pub use durable_macros::{durable_object, migration};
#[doc(hidden)]
pub use durable_runtime::__private;
pub use durable_runtime::*;

#[cfg(feature = "admin")]
#[doc(inline)]
pub use durable_admin as admin;
#[cfg(feature = "client")]
#[doc(inline)]
pub use durable_client::{self as client, Client};
#[cfg(feature = "http")]
#[doc(inline)]
pub use durable_http as http;

/// What most programs need: `use durable::prelude::*`.
pub mod prelude {
    pub use crate::{
        After, AlarmInfo, At, CallError, Close, Context, Cron, CronIn, DurableObject, Every,
        Handle, Message, Migration, Namespace, Request, Response, Result, Runtime, WebSocket,
        durable_object,
    };
}

#[doc = include_str!("../../docs/rules.md")]
pub mod rules {}

/// How to do things well, and how they compare.
pub mod guide {
    #[doc = include_str!("../../docs/coming-from-cloudflare.md")]
    pub mod coming_from_cloudflare {}

    #[doc = include_str!("../../docs/state.md")]
    pub mod state {}

    #[doc = include_str!("../../docs/external-io.md")]
    pub mod external_io {}

    #[cfg(feature = "http")]
    #[doc = include_str!("../../docs/http.md")]
    pub mod http {}

    #[cfg(all(feature = "client", feature = "http"))]
    #[doc = include_str!("../../docs/remote.md")]
    pub mod remote {}

    #[cfg(feature = "admin")]
    #[doc = include_str!("../../docs/command-line.md")]
    pub mod command_line {}

    #[doc = include_str!("../../docs/messages.md")]
    pub mod messages {}

    #[doc = include_str!("../../docs/history.md")]
    pub mod history {}

    #[doc = include_str!("../../docs/observability.md")]
    pub mod observability {}

    #[doc = include_str!("../../docs/operations.md")]
    pub mod operations {}

    #[doc = include_str!("../../docs/websockets.md")]
    pub mod websockets {}

    #[doc = include_str!("../../docs/differences.md")]
    pub mod differences {}
}
