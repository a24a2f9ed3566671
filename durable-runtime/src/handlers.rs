//! What handlers take and give; what those of sockets do is in [`socket`](crate::socket).

use std::time::SystemTime;

use crate::Body;

/// An HTTP request, in process or from the network.
pub type Request = http::Request<Body>;
/// An HTTP response.
pub type Response = http::Response<Body>;

/// What an `alarm` handler is told about the run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlarmInfo {
    /// How many runs of this alarm failed before: 0 at the first run.
    pub retry_count: u32,
    /// Whether an earlier run failed.
    pub is_retry: bool,
    /// The time the alarm was set for.
    pub scheduled_time: SystemTime,
}
