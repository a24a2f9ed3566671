//! Where callers wait for their transfers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::{Error, Result};
use tokio::sync::oneshot;

use crate::transfer::{Outcome, TransferId};

/// Tells callers how their transfers ended.
///
/// All accounts get it from the runtime's environment. It is in memory only, and that is enough:
/// whoever waits here dies together with the program, and no transfer depends on being waited for.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    transfers: Arc<Mutex<HashMap<TransferId, State>>>,
}

#[derive(Debug)]
enum State {
    Awaited(Vec<oneshot::Sender<Result<Outcome>>>),
    /// The delivery failed, and nobody has asked yet.
    Failed(Error),
}

impl Desk {
    /// Starts to wait. An outcome that was told before is not heard: it is in the sender's database.
    pub fn expect(&self, id: TransferId) -> oneshot::Receiver<Result<Outcome>> {
        let (caller, answer) = oneshot::channel();
        let mut transfers = self.transfers();
        match transfers.remove(&id) {
            Some(State::Failed(error)) => drop(caller.send(Err(error))),
            Some(State::Awaited(mut callers)) => {
                callers.push(caller);
                transfers.insert(id, State::Awaited(callers));
            }
            None => drop(transfers.insert(id, State::Awaited(vec![caller]))),
        }
        answer
    }

    /// Tells whoever waits for this transfer.
    pub fn tell(&self, id: TransferId, outcome: &Result<Outcome>) {
        let mut transfers = self.transfers();
        match (transfers.remove(&id), outcome) {
            (Some(State::Awaited(callers)), outcome) => {
                for caller in callers {
                    // Who has gone away does not want to know.
                    drop(caller.send(outcome.clone()));
                }
            }
            (_, Err(error)) => drop(transfers.insert(id, State::Failed(error.clone()))),
            (_, Ok(_)) => {}
        }
    }

    /// Forgets callers who wait for this transfer no more.
    pub fn tidy(&self, id: TransferId) {
        let mut transfers = self.transfers();
        if let Some(State::Awaited(callers)) = transfers.get_mut(&id) {
            callers.retain(|caller| !caller.is_closed());
            if callers.is_empty() {
                transfers.remove(&id);
            }
        }
    }

    fn transfers(&self) -> MutexGuard<'_, HashMap<TransferId, State>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_are_told_and_a_failure_is_kept_for_the_next() {
        let (desk, id) = (Desk::default(), TransferId::random().unwrap());
        let mut callers = [desk.expect(id), desk.expect(id)];
        desk.tell(id, &Ok(Outcome::Settled));
        assert!(callers.iter_mut().all(|told| told.try_recv() == Ok(Ok(Outcome::Settled))));

        desk.tell(id, &Err(Error::other("no")));
        assert_eq!(desk.expect(id).try_recv(), Ok(Err(Error::other("no"))));
        drop(desk.expect(id));
        desk.tidy(id);
        assert!(desk.transfers().is_empty());
    }
}
