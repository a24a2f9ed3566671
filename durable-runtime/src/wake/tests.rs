//! Alarms from end to end: real files, and a clock that the test moves.
//!
//! That something does *not* run is shown with a marker: another object with a later alarm, which has run.

mod asynchronous;
mod bed;
mod synchronous;
