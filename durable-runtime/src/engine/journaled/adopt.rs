//! Objects that begin as a copy: see [`copies`](crate::engine::copies).

use std::sync::Arc;

use super::Shared;
use super::checkpoint::Waker;
use super::database::commit_of;
use super::entry::Entry;
use crate::Result;
use crate::engine::copies::CopyFile;
use crate::engine::journal::{Journal, Refusal};
use crate::engine::pagestore::{Header, Stamp};
use crate::engine::record::{Commit, Draft, Effects};
use crate::engine::{About, ObjectKey, Receipt, Wake};

/// Makes a copy the first commit of an object: see [`Engine::adopt`](crate::engine::Engine::adopt).
pub(super) fn adopt(
    shared: &Arc<Shared>,
    checkpoints: &Waker,
    object: &ObjectKey,
    copy: CopyFile,
    about: About,
    wake: Wake,
) -> Result<Receipt> {
    let entry = shared.entry(object)?;
    // The file of one that was deleted goes first, so that a history ends with it.
    let is_vacated =
        if !entry.is_stored() && entry.lags() { checkpoints.catch_up() } else { Ok(()) };
    let adopted = adopt_entry(shared, &entry, copy, about, wake);
    if adopted.is_err() {
        shared.entries.forget_if_idle(&entry);
        return adopted.map_err(|error| is_vacated.err().unwrap_or(error));
    }
    let written = checkpoints.write_back_closed(entry);
    checkpoints.wake_if_due();
    // It exists, and the next checkpoint moves the file.
    drop(written);
    adopted
}

/// The same, of an object that has no file.
pub(super) fn adopt_entry(
    shared: &Shared,
    entry: &Entry,
    copy: CopyFile,
    about: About,
    wake: Wake,
) -> Result<Receipt> {
    let now_ms = shared.now_ms();
    let header = shared.copies.header(&copy)?;
    let (_vacant, before) = entry.lock_vacant()?;
    let time_ms = now_ms.max(before.time_ms);
    let stamp = Stamp { commit: before.commit + 1, epoch: before.epoch, time_ms };
    let copy = copy.settle(shared.copies.folder(), entry.key.id, stamp)?;
    append(shared, entry, copy, before, header, time_ms, about, wake)
}

#[expect(clippy::too_many_arguments, reason = "all that the record says")]
fn append(
    shared: &Shared,
    entry: &Entry,
    copy: CopyFile,
    before: Stamp,
    header: Header,
    time_ms: i64,
    about: About,
    wake: Wake,
) -> Result<Receipt> {
    let mut state = entry.state.lock();
    // Whoever had it open may have written meanwhile.
    if entry.is_stored() || state.stamp != before {
        return Err(entry.exists());
    }
    loop {
        let draft = Draft::new(&Commit {
            database_pages: header.pages,
            effects: Effects { creates: true, adopts: true, ..Effects::default() },
            name: about.name.as_deref(),
            location_hint: about.location_hint.as_deref(),
            wake: Some(wake),
            ..commit_of(entry, &state, time_ms)
        })?;
        match shared.append(shared.journal.checkpoint_epoch(), before.commit, draft) {
            Ok(receipt) => {
                entry.note_news(about, Some(time_ms));
                state.committed(&receipt, time_ms);
                entry.adopted(&mut state, copy.keep(), header);
                shared.note_wake(&entry.key, Some(wake));
                return Ok(receipt);
            }
            Err(Refusal::Stale) => {}
            // What was not logged may still be on its way; the next start knows.
            Err(Refusal::Failed(error)) => {
                copy.keep();
                return Err(error);
            }
        }
    }
}
