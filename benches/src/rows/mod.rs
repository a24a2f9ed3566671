//! What is measured, against what.

mod increment;
mod rpc;

use crate::measure::Row;

pub(crate) fn all() -> Vec<Row> {
    [rpc::rows(), increment::rows()].into_iter().flatten().collect()
}
