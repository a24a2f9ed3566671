//! Objects over HTTP.

mod bed;
mod calls;
mod curl;
mod described;
mod fetch;
mod layers;
mod names;
mod server;
mod shapes;
mod statuses;
mod websocket;
