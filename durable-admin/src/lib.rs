//! Looking into the durable objects of a running program, and repairing them: the admin API, for the command line `durable` and for
//! programs of one's own.
//!
//! ```no_run
//! # async fn main_(runtime: durable_runtime::Runtime) -> durable_runtime::Result<()> {
//! durable_admin::serve(&runtime).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! This listens on the unix socket `admin.sock` in the data directory, which only the user that runs the program can open, until the
//! runtime shuts down. `durable --data ./data classes` finds it there by itself. [`Serve::tcp`] listens on TCP, for those
//! who have a token.
//!
//! The guarantee: nobody but the program's user, root, or who has the token can ask anything; what is asked cannot harm the
//! objects (see [`Operation`]); and what changes something is logged with who it was.
//!
//! Each operation is a `POST` of JSON to `/v1/` and [its name](Operation::NAME); the answer is its [`Reply`](Operation::Reply) in JSON,
//! or an error `{"kind": "NotFound", "message": ".."}`. A `GET` of `/v1` lists the operations. Two of them are about files: an [`Export`]
//! is answered with one, and an [`Import`] is sent with one.

mod files;
mod peer;
mod routes;
mod server;
mod socket;
mod token;

#[doc(inline)]
pub use durable_runtime::admin::*;
pub use files::{Export, Import};
pub use server::{Serve, Serving, serve};
pub use socket::SOCKET_NAME;
pub use token::Token;
