//! Sending the messages of one object, and receiving those of others.
//!
//! Guarantees:
//! - A message leaves only once the turn that sent it is durable, and counts as delivered only once what its receiver made of
//!   it is durable.
//! - Messages to one receiver arrive in their order: the next one waits until the one before is taken, refused or given up.
//!   Receivers do not wait for each other.
//! - The effect of a message and the note that it has been had are one turn of the receiver. A method that fails is undone,
//!   and the message is refused: that is noted by a turn of its own, and the sender keeps it as a dead letter.
//! - What is not the fault of the method (an object that cannot be activated, a full queue, a disk that failed, a class that
//!   this program does not have) is tried again, later and later, for a week.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::activity::{self, waiting};
use crate::call::{CallError, Failure};
use crate::engine::{ObjectKey, Receipt};
use crate::id::Identity;
use crate::instance::events::event;
use crate::instance::failure::spread;
use crate::instance::session::Session;
use crate::instance::turn::{ClosureCall, Turned};
use crate::instance::{Job, Live, Object};
use crate::node::Node;
use crate::rpc::{Access, MethodInfo, WireReply};
use crate::storage::inbox::{Sender, Verdict};
use crate::storage::millis;
use crate::storage::outbox::{Failures, Letter, PATIENCE, Parcel, Unreached};
use crate::time::retry;
use crate::wire::Decoder;
use crate::{Context, DurableObject, Error, ErrorKind};

/// How often a message may reset its receiver.
const RESETS_MAX: u32 = 7;
/// The longest wait before a receiver is tried again is 2 to the power of this, in seconds.
const WAIT_DOUBLINGS_MAX: u32 = 9;

/// Messages to one object, in order.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) sender: Sender,
    pub(crate) receiver: ObjectKey,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) letters: Vec<Letter>,
}

/// What became of a delivery: of its first messages, and why of no more.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    verdicts: Vec<(i64, Verdict)>,
    failure: Option<Undelivered>,
}

impl Delivered {
    fn failed(failure: Failure) -> Self {
        let failure = Undelivered { failure, has_begun: false };
        Delivered { failure: Some(failure), ..Delivered::default() }
    }
}

/// Why a message was neither taken nor refused.
#[derive(Debug)]
pub(crate) struct Undelivered {
    failure: Failure,
    /// Whether its method has begun, and so may be the reason.
    has_begun: bool,
}

impl<T: DurableObject> Live<T> {
    /// Lets go what is to be sent at this time, to each receiver by itself.
    pub(super) fn send_out(&mut self, now: i64) -> Result<(), Failure> {
        let object = Arc::clone(self.ctx.object());
        let busy = object.duties.lock().delivers_to.clone();
        let parcels = self.own_turn(|ctx| ctx.store().parcels(now, &busy))?;
        for parcel in parcels {
            let duty = Duty::begin(Arc::clone(&object), parcel.row);
            self.ctx.node().spawn(serve(duty, parcel, self.ctx.store().receipt()));
        }
        Ok(())
    }

    /// Notes what became of a parcel. Gives the next one to the same receiver.
    fn end_delivery(
        &mut self,
        parcel: &Parcel,
        delivered: &Delivered,
    ) -> Result<Option<Parcel>, Failure> {
        let refused: Vec<_> = delivered.verdicts.iter().filter_map(refusal).collect();
        let highest = delivered.verdicts.last().map(|(number, _)| *number);
        let (next, given_up) = self.own_turn(|ctx| {
            let (store, now) = (ctx.store(), millis(ctx.now()));
            let next = match highest {
                Some(highest) => store.confirm(parcel, highest, &refused, now)?,
                None => None,
            };
            let Some(failure) = &delivered.failure else { return Ok((next, None)) };
            let reason = failure.failure.to_string();
            let decide = |failures| after(failure, failures, ctx.identity());
            Ok((None, store.unreached(parcel, &reason, now, decide)?))
        })?;
        let identity = self.ctx.identity();
        let receiver = &parcel.receiver;
        let meters = self.ctx.object().meters();
        let dead = refused.len() + usize::from(given_up.is_some());
        meters.dead_letters.increment(dead as u64);
        let taken = delivered.verdicts.len() - refused.len();
        meters.messages_delivered.increment(taken as u64);
        for (number, reason) in &refused {
            let method = method_of(parcel, *number);
            event!(error, identity, %receiver, method, reason = &**reason, "a message was refused");
        }
        if let Some(Undelivered { failure: reason, .. }) = &delivered.failure {
            match given_up.map(|number| method_of(parcel, number)) {
                Some(method) => {
                    event!(error, identity, %receiver, method, %reason, "a message was given up");
                }
                None => {
                    event!(warn, identity, %receiver, %reason, "messages could not be delivered");
                }
            }
        }
        Ok(next)
    }

    /// Receives one message: runs its method, unless that was done before.
    fn receive(&mut self, sender: &Sender, letter: &Letter) -> Result<(Verdict, Receipt), Failure> {
        let number = letter.number;
        // One that this program does not have is refused by the dispatcher.
        let unknown = MethodInfo { name: "message", access: Access::Write };
        let known = T::METHODS.iter().find(|method| method.info.name == letter.method);
        let info = known.map_or(unknown, |method| method.info);
        let (from, letter) = (sender.clone(), letter.clone());
        let closure = move |object: &mut T, ctx: &Context<T>| -> Result<Verdict, Stopped> {
            let had = ctx.store().received(&from, number).map_err(Stopped::Storage)?;
            if let Some(verdict) = had {
                return Ok(verdict);
            }
            let dispatched = Decoder::new(&letter.arguments)
                .and_then(|mut input| object.dispatch(ctx, &letter.method, &mut input));
            match dispatched {
                Ok(WireReply::Ok(_)) => {}
                Ok(WireReply::Err { text, .. }) => return Err(Stopped::Refused(text)),
                Err(error) => return Err(Stopped::Refused(error.to_string())),
            }
            // What has no effect may be had twice.
            if ctx.store().wrote() {
                let noted = ctx.store().note_received(&from, number, &Ok(()), millis(ctx.now()));
                noted.map_err(Stopped::Storage)?;
            }
            Ok(Ok(()))
        };
        let Turned { outcome, .. } = self.run(Box::new(ClosureCall { info, closure }));
        let reason = match outcome {
            // Also where the method allows its reply to leave before: the sender deletes the message.
            Ok(verdict) => return Ok((verdict, self.ctx.store().receipt())),
            Err(CallError::Application(Stopped::Refused(text))) => text,
            Err(CallError::Application(Stopped::Storage(error))) => {
                return Err(CallError::StorageFailed(error));
            }
            Err(CallError::Panicked { message, .. }) => format!("it panicked: {message}"),
            Err(CallError::RolledBack(error)) => error.to_string(),
            Err(other) => {
                return Err(other.split().map_or_else(|failure| failure, |_| CallError::ShutDown));
            }
        };
        let verdict = Err(reason);
        self.own_turn(|ctx| {
            ctx.store().note_received(sender, number, &verdict, millis(ctx.now()))
        })?;
        Ok((verdict, self.ctx.store().receipt()))
    }
}

/// Why a message had no effect.
enum Stopped {
    /// Its method has failed.
    Refused(String),
    /// It could not be found out whether it had one before.
    Storage(Error),
}

fn refusal((number, verdict): &(i64, Verdict)) -> Option<(i64, String)> {
    verdict.as_ref().err().map(|reason| (*number, reason.clone()))
}

fn method_of(parcel: &Parcel, number: i64) -> &str {
    let letter = parcel.letters.iter().find(|letter| letter.number == number);
    letter.map_or("", |letter| &letter.method)
}

/// What to do about a receiver that could not be reached.
fn after(undelivered: &Undelivered, failures: Failures, sender: &Identity) -> Unreached {
    let Undelivered { failure, has_begun } = undelivered;
    let has_reset = *has_begun && matches!(failure, CallError::Reset { .. });
    let is_poison = has_reset && failures.count >= RESETS_MAX;
    if is_poison || failures.since >= PATIENCE {
        return Unreached::GiveUp;
    }
    let wait = Duration::from_secs(1 << (failures.count - 1).min(WAIT_DOUBLINGS_MAX));
    Unreached::Wait(retry::with_jitter(wait, spread(sender, "", failures.count)))
}

/// Messages are on their way to a receiver, until this is dropped.
struct Duty<T: DurableObject> {
    object: Arc<Object<T>>,
    receiver: i64,
}

impl<T: DurableObject> Duty<T> {
    fn begin(object: Arc<Object<T>>, receiver: i64) -> Self {
        object.duties.lock().delivers_to.insert(receiver);
        Duty { object, receiver }
    }
}

impl<T: DurableObject> Drop for Duty<T> {
    fn drop(&mut self) {
        self.object.duties.lock().delivers_to.remove(&self.receiver);
    }
}

/// Delivers to one receiver until nothing is left, or it cannot be reached.
async fn serve<T: DurableObject>(duty: Duty<T>, parcel: Parcel, receipt: Receipt) {
    let object = Arc::clone(&duty.object);
    activity::describe(|| format!("messages of {}", object.label()));
    if let Err(failure) = serve_all(duty, parcel, receipt).await {
        object.node().could_not_wake(&object.identity().key(), failure);
    }
}

async fn serve_all<T: DurableObject>(
    mut duty: Duty<T>,
    mut parcel: Parcel,
    mut receipt: Receipt,
) -> Result<(), Failure> {
    let object = Arc::clone(&duty.object);
    loop {
        receipt.wait().await.map_err(CallError::StorageFailed)?;
        let delivered = hand_over(object.node(), object.identity(), &parcel).await;
        let failure = delivered.failure.as_ref().map(|undelivered| &undelivered.failure);
        if object.node().is_closing() && matches!(failure, Some(CallError::ShutDown)) {
            return Err(CallError::ShutDown);
        }
        let (sender, ended) = oneshot::channel();
        object.submit_patiently(Box::new(End { duty, parcel, delivered, sender })).await?;
        match waiting(ended).await.unwrap_or(Err(CallError::ShutDown))? {
            Some(next) => (duty, parcel, receipt) = next,
            None => return Ok(()),
        }
    }
}

/// Gives a parcel to its receiver, and waits until what that made of it is durable.
async fn hand_over(node: &Arc<Node>, sender: &Identity, parcel: &Parcel) -> Delivered {
    let Some(class) = node.class_of(&parcel.receiver.class) else {
        let text = format!("no class of this program is stored as `{}`", parcel.receiver.class);
        return Delivered::failed(CallError::NotFound(Error::new(ErrorKind::NotFound, text)));
    };
    let delivery = Delivery {
        sender: Sender { key: sender.key(), epoch: parcel.epoch },
        receiver: parcel.receiver.clone(),
        name: parcel.name.as_deref().map(Arc::from),
        letters: parcel.letters.clone(),
    };
    class.deliver(node, delivery).await
}

type Next<T> = Option<(Duty<T>, Parcel, Receipt)>;

/// Notes the end of a delivery in the sender.
struct End<T: DurableObject> {
    duty: Duty<T>,
    parcel: Parcel,
    delivered: Delivered,
    sender: oneshot::Sender<Result<Next<T>, Failure>>,
}

impl<T: DurableObject> Job<T> for End<T> {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        let End { duty, parcel, delivered, sender } = *self;
        let ended = match live.end_delivery(&parcel, &delivered) {
            Ok(Some(next)) => Ok(Some((duty, next, live.ctx.store().receipt()))),
            Ok(None) => {
                // Before: what the object waits for now is to be looked at.
                drop(duty);
                live.correct_wake().map(|()| None)
            }
            Err(failure) => Err(failure),
        };
        let _ = sender.send(ended);
    }

    fn fail(self: Box<Self>, failure: Failure) {
        let _ = self.sender.send(Err(failure));
    }
}

/// Gives messages to an object, each in a turn of its own, and waits until all that is durable.
pub(crate) async fn deliver<T: DurableObject>(
    object: Arc<Object<T>>,
    delivery: Delivery,
) -> Delivered {
    let reception = Reception::begin(&object, delivery.sender);
    let (mut answers, mut delivered) = (Vec::new(), Delivered::default());
    for letter in delivery.letters {
        let number = letter.number;
        match reception.submit(&object, letter) {
            Ok(answer) => answers.push((number, answer)),
            Err(failure) => {
                delivered.failure = Some(Undelivered { failure, has_begun: false });
                break;
            }
        }
    }
    let mut latest = Receipt::durable();
    for (number, answer) in answers {
        let given_up = || Undelivered { failure: CallError::ShutDown, has_begun: false };
        match waiting(answer).await.unwrap_or_else(|_| Err(given_up())) {
            Ok((verdict, receipt)) => {
                latest = receipt;
                delivered.verdicts.push((number, verdict));
            }
            Err(failure) => {
                delivered.failure = Some(failure);
                break;
            }
        }
    }
    // Of one object, what came earlier is durable earlier.
    match latest.wait().await {
        Ok(()) => delivered,
        Err(error) => Delivered::failed(CallError::StorageFailed(error)),
    }
}

/// Messages of one delivery, on their way into the receiver's queue. None overtakes another: once one could not be received,
/// no later one is.
pub(crate) struct Reception {
    from: Sender,
    /// Of the receiver, when the delivery began. A reset that ends it takes messages out of the queue before they
    /// can know, and another one may be put in meanwhile.
    session: Arc<Session>,
    stopped: AtomicBool,
}

pub(crate) type Received = Result<(Verdict, Receipt), Undelivered>;

impl Reception {
    pub(crate) fn begin<T: DurableObject>(receiver: &Object<T>, from: Sender) -> Arc<Self> {
        Arc::new(Reception { from, session: receiver.session(), stopped: AtomicBool::new(false) })
    }

    /// Puts the next message into the queue.
    pub(crate) fn submit<T: DurableObject>(
        self: &Arc<Self>,
        receiver: &Arc<Object<T>>,
        letter: Letter,
    ) -> Result<oneshot::Receiver<Received>, Failure> {
        let (sender, answer) = oneshot::channel();
        let reception = Arc::clone(self);
        receiver.submit(None, || Box::new(Receive { reception, letter, sender }))?;
        Ok(answer)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Receives one message, unless one before it could not be received.
struct Receive {
    reception: Arc<Reception>,
    letter: Letter,
    sender: oneshot::Sender<Received>,
}

impl<T: DurableObject> Job<T> for Receive {
    fn run(self: Box<Self>, live: &mut Live<T>) {
        if self.reception.stopped.load(Ordering::Relaxed) {
            // Nobody waits for its answer: the one before has told the reason.
            return;
        }
        if let Some(reason) = self.reception.session.over.reason() {
            let failure = CallError::Reset { reason: reason.to_string(), started: false };
            return Job::<T>::fail(self, failure);
        }
        let received = live.receive(&self.reception.from, &self.letter);
        if received.is_err() {
            self.reception.stop();
        }
        let begun = |failure| Undelivered { failure, has_begun: true };
        let _ = self.sender.send(received.map_err(begun));
    }

    fn fail(self: Box<Self>, failure: Failure) {
        self.reception.stop();
        let _ = self.sender.send(Err(Undelivered { failure, has_begun: false }));
    }
}
