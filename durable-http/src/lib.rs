//! Objects over HTTP: a router for axum.
//!
//! Programs reach this as `durable::http`, with the feature `http`; the page `guide::http` of that crate says how to use it.
//!
//! One path through the code: `target` reads the path, the user's layers decide, `gateway` finds the object and
//! calls it, `failure` turns what went wrong into a status. A connection that the object makes a WebSocket goes to `websocket`. `arguments`, `origin` and `target` are plain functions.
//!
//! Guarantees:
//! - Nothing is reachable that was not exposed by name.
//! - A request that was refused with status 4xx by this crate has done nothing.
//! - No reply says more of an error of the runtime's than its kind.

mod arguments;
mod class;
#[cfg(feature = "openapi")]
mod described;
mod failure;
mod gateway;
#[cfg(feature = "openapi")]
mod openapi;
mod origin;
mod remote;
mod router;
mod serve;
mod target;
#[cfg(feature = "openapi")]
mod typescript;
mod websocket;

pub use class::Expose;
pub use router::{ObjectRouter, TIMEOUT, router};
pub use serve::{PATIENCE, Serve, serve};
pub use target::{Action, Address, Target};

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What is spelt with percent signs in a part of a path: all but what no URL takes for anything else.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
