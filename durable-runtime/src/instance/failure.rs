//! What a run that failed says, and how those who failed together are told apart.

use crate::Error;
use crate::call::{CallError, Failure};
use crate::id::Identity;

/// Why a run failed, in words; `Err` if that was not the fault of the object's code.
pub(super) fn reason_of(error: CallError<Error>) -> Result<String, Failure> {
    match error {
        CallError::Panicked { message, .. } => Ok(format!("it panicked: {message}")),
        CallError::Application(error) | CallError::RolledBack(error) => Ok(error.to_string()),
        CallError::Reset { reason, .. } => Ok(format!("the object was reset: {reason}")),
        other => match other.split() {
            Ok(error) => Ok(error.to_string()),
            Err(failure) => Err(failure),
        },
    }
}

/// A number that differs from object to object, from `key` to `key` in an object and from run to run, so that those who failed
/// together are not tried again together. Ids are as good as random.
pub(super) fn spread(identity: &Identity, key: &str, failed: u32) -> u64 {
    let id = identity.id.as_bytes()[8..16].iter();
    let number = id.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mix = |number: u64, byte| (number ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    key.bytes().fold(number, mix).rotate_left(failed * 8)
}
