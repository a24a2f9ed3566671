//! What the clients of a case and the objects know of sockets together.

use std::collections::BTreeSet;

use super::{Progress, World};
use crate::case::{Offer, SocketScript};

#[derive(Debug, Default)]
pub(super) struct Sockets {
    offers: Vec<Offered>,
    /// Those that their object has closed, and not the runtime.
    closed: BTreeSet<u64>,
    /// Those that the reference would not list.
    unlisted: BTreeSet<u64>,
}

/// A client that has asked for a socket.
#[derive(Debug)]
struct Offered {
    offer: Offer,
    progress: Progress,
    /// The object and the socket, if it was accepted.
    accepted: Option<(String, u64)>,
}

impl World {
    /// Makes known under a number how a socket is to be accepted.
    pub(crate) fn offer(&self, offer: &Offer) -> (usize, Progress) {
        let progress = Progress::default();
        let offered = Offered { offer: offer.clone(), progress: progress.clone(), accepted: None };
        let mut state = self.state();
        state.sockets.offers.push(offered);
        (state.sockets.offers.len() - 1, progress)
    }

    pub(crate) fn offered(&self, number: usize) -> Option<(Offer, Progress)> {
        let state = self.state();
        let offered = state.sockets.offers.get(number)?;
        Some((offered.offer.clone(), offered.progress.clone()))
    }

    /// A socket was accepted.
    pub(crate) fn accepts(&self, number: usize, object: &str, socket: u64) {
        if let Some(offered) = self.state().sockets.offers.get_mut(number) {
            offered.accepted = Some((object.to_owned(), socket));
        }
    }

    /// Whether an object has ever accepted a socket of a client.
    pub(crate) fn has_accepted(&self, object: &str) -> bool {
        let state = self.state();
        let mut accepted = state.sockets.offers.iter().filter_map(|offer| offer.accepted.as_ref());
        accepted.any(|(other, _)| other == object)
    }

    /// An object closes a socket.
    pub(crate) fn object_closes(&self, socket: u64) {
        self.state().sockets.closed.insert(socket);
    }

    /// Whether it was the object that closed the socket that was accepted under this number.
    pub(crate) fn has_object_closed(&self, number: usize) -> bool {
        let state = self.state();
        let accepted = state.sockets.offers.get(number).and_then(|offer| offer.accepted.as_ref());
        accepted.is_some_and(|(_, socket)| state.sockets.closed.contains(socket))
    }

    pub(crate) fn unlist(&self, socket: u64) {
        self.state().sockets.unlisted.insert(socket);
    }

    pub(crate) fn is_unlisted(&self, socket: u64) -> bool {
        self.state().sockets.unlisted.contains(&socket)
    }

    pub(crate) fn socket_script(&self, object: &str) -> SocketScript {
        self.with(object, |object| object.script.sockets.clone())
    }

    /// What the object was last told to answer by itself.
    pub(crate) fn auto_response(&self, object: &str) -> Option<(String, String)> {
        self.with(object, |object| object.auto_response.clone())
    }

    pub(crate) fn set_auto_response(&self, object: &str, pair: Option<(String, String)>) {
        self.with(object, |object| object.auto_response = pair);
    }

    /// How long a handler of a socket may take there.
    pub(crate) fn event_timeout(&self, object: &str) -> Option<f64> {
        self.with(object, |object| object.event_timeout)
    }

    pub(crate) fn set_event_timeout(&self, object: &str, millis: Option<f64>) {
        self.with(object, |object| object.event_timeout = millis);
    }
}
