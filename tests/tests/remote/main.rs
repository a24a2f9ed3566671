//! Objects on a server, called by their stubs.

mod bed;
mod calls;
mod connections;
mod guards;
mod hostile;
mod noise;
mod order;
mod versions;
