//! What the turn that runs on this thread does to sockets: kept until its commit, and forgotten with it.
//!
//! A socket is no part of a context, and may be a field of the object or a value from elsewhere. So the turn is found by
//! its thread: nothing but the turn's own code runs there until it ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::message::{CloseFrame, Outgoing};
use super::set::{AutoResponse, Sockets, restart};
use super::shared::{Held, Shared};
use crate::engine::Receipt;

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn::None) };
}

#[derive(Debug)]
enum Turn {
    /// No turn runs here.
    None,
    /// Most turns touch no socket.
    Untouched,
    Touched(Box<Changes>),
}

/// What one turn has done so far.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) accepted: Vec<Arc<Shared>>,
    /// Messages and closes, in their order.
    outputs: Vec<(Arc<Shared>, Output)>,
    changed: HashMap<u64, Changed>,
    pub(super) auto_response: Setting,
}

/// What a turn has made of the automatic answer.
#[derive(Clone, Debug, Default)]
pub(super) enum Setting {
    #[default]
    Unchanged,
    To(Option<Arc<AutoResponse>>),
}

#[derive(Debug)]
enum Output {
    Message(Outgoing),
    Close(CloseFrame),
}

/// What a turn has done to one socket, as far as it can see that.
#[derive(Debug, Default)]
struct Changed {
    is_closed: bool,
    attachment: Option<(Arc<Shared>, Box<[u8]>)>,
}

/// A turn begins on this thread.
pub(crate) fn begin() {
    TURN.set(Turn::Untouched);
}

/// Undoes what the turn did.
pub(crate) fn roll_back() {
    // Dropped outside of the cell.
    drop(TURN.replace(Turn::None));
}

/// Carries out what the turn did: it is committed, and is durable when the receipt says so.
pub(crate) fn commit(sockets: &Sockets, receipt: impl FnOnce() -> Receipt) {
    if let Turn::Touched(changes) = TURN.replace(Turn::None) {
        changes.apply(sockets, &receipt());
    }
}

/// Looks at the changes of the turn that runs on this thread, or adds to them; `None` outside of turns.
pub(super) fn in_turn<R>(change: impl FnOnce(&mut Changes) -> R) -> Option<R> {
    put((), |changes, ()| change(changes)).ok()
}

/// Adds a value to the changes of the turn that runs on this thread. Outside of turns it is given back.
pub(super) fn put<V, R>(value: V, change: impl FnOnce(&mut Changes, V) -> R) -> Result<R, V> {
    // Taken out meanwhile: a closure could not give the value back.
    let turn = TURN.try_with(|turn| turn.replace(Turn::None)).unwrap_or(Turn::None);
    let mut changes = match turn {
        Turn::None => return Err(value),
        Turn::Untouched => Box::default(),
        Turn::Touched(changes) => changes,
    };
    let result = change(&mut changes, value);
    TURN.set(Turn::Touched(changes));
    Ok(result)
}

impl Changes {
    pub(super) fn send(&mut self, socket: &Arc<Shared>, frame: Outgoing) {
        self.outputs.push((Arc::clone(socket), Output::Message(frame)));
    }

    pub(super) fn close(&mut self, socket: &Arc<Shared>, frame: CloseFrame) {
        self.changed.entry(socket.id).or_default().is_closed = true;
        self.outputs.push((Arc::clone(socket), Output::Close(frame)));
    }

    /// Whether this turn has closed the socket.
    pub(super) fn has_closed(&self, id: u64) -> bool {
        self.changed.get(&id).is_some_and(|changed| changed.is_closed)
    }

    pub(super) fn attach(&mut self, socket: &Arc<Shared>, attachment: Box<[u8]>) {
        let changed = self.changed.entry(socket.id).or_default();
        changed.attachment = Some((Arc::clone(socket), attachment));
    }

    /// What this turn has attached to the socket, if it has.
    pub(super) fn attachment(&self, id: u64) -> Option<Box<[u8]>> {
        let (_, attachment) = self.changed.get(&id)?.attachment.as_ref()?;
        Some(attachment.clone())
    }

    fn apply(self, sockets: &Sockets, receipt: &Receipt) {
        let held = || {
            if receipt.is_durable() { Held::No } else { Held::Turn(receipt.clone()) }
        };
        for socket in self.accepted {
            // In this order: whoever loses the connection at this moment removes it afterwards.
            sockets.insert(Arc::clone(&socket));
            if !socket.accept() {
                sockets.remove(socket.id);
            } else if socket.is_late() {
                socket.close(Held::No, restart());
            }
        }
        for (socket, attachment) in self.changed.into_values().filter_map(|c| c.attachment) {
            socket.set_attachment(attachment);
        }
        if let Setting::To(auto_response) = self.auto_response {
            sockets.set_auto_response(auto_response);
        }
        for (socket, output) in self.outputs {
            match output {
                // What was closed meanwhile, by other code of the object, loses it.
                Output::Message(frame) => drop(socket.send(held(), frame)),
                Output::Close(frame) => socket.close(held(), frame),
            }
        }
    }
}
