//! One turn: a piece of user code that runs alone in its object, as one transaction.
//!
//! Guarantees:
//! - `Ok` commits all that the code wrote; `Err` or a panic undoes it.
//! - When writes are undone the instance goes too, since its fields may be ahead of the
//!   database: after a panic always, after an `Err` only if the turn had written.
//! - What the code produced is given out together with a [`Receipt`], and nobody outside may see
//!   it before that says that it is durable.
//! - While a turn runs on a thread, no other can be started there.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::call::{CallError, Failure};
use crate::engine::Receipt;
use crate::instance::Live;
use crate::instance::events::{event, note};
use crate::instance::watch::OnPost;
use crate::observe::turns::{self, ObservedTurn, Waiting};
use crate::rpc::{Access, Method, MethodDescription, MethodInfo, WireReply};
use crate::wire::{Decoder, Encoder, WireError};
use crate::{Context, DurableObject, Error, ErrorKind};

thread_local! {
    static IN_A_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Whether a turn runs on this thread, further up the stack.
pub(crate) fn in_a_turn() -> bool {
    IN_A_TURN.get()
}

/// Marks this thread for as long as it lives. Remembers what was before: user code that is
/// dropped inside a turn is guarded once more.
struct TurnMark {
    before: bool,
}

impl TurnMark {
    fn set() -> Self {
        TurnMark { before: IN_A_TURN.replace(true) }
    }
}

impl Drop for TurnMark {
    fn drop(&mut self) {
        IN_A_TURN.set(self.before);
    }
}

/// What a turn gave, and what it must wait for before anybody may see it.
pub(crate) struct Turned<R, E> {
    pub(crate) outcome: Result<R, CallError<E>>,
    pub(crate) receipt: Receipt,
}

/// Why user code did not give a value.
pub(crate) enum Stop<E> {
    /// It returned this error.
    Application(E),
    /// It could not be called with these arguments, or its reply could not be written.
    Wire(WireError),
}

/// Whether arguments are moved to the method or pass through their wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Moved,
    Wire,
}

/// User code to run as a turn.
pub(crate) trait Invocation<T: DurableObject, R, E>: Send {
    /// The method's name, for errors and events.
    fn method(&self) -> &'static str;
    fn access(&self) -> Access;
    /// Writes the arguments into a message.
    fn write_arguments(&self, _: Encoder) -> Result<Vec<u8>, WireError> {
        Err(WireError::UnknownMethod(self.method().to_owned()))
    }
    /// Reads the reply to such a message.
    fn read_reply(&self, _: &WireReply) -> Result<Result<R, E>, WireError> {
        Err(WireError::UnknownMethod(self.method().to_owned()))
    }
    /// The arguments in the form in which they are stored.
    fn store_arguments(&self) -> crate::Result<Vec<u8>> {
        self.write_arguments(Encoder::named()).map_err(|error| {
            let method = self.method();
            if let WireError::UnknownMethod(_) = error {
                let text = format!(
                    "`{method}` is no business method, and only calls of those can be sent"
                );
                return Error::new(ErrorKind::Invalid, text);
            }
            let text = format!("the arguments of `{method}` cannot be stored: {error}");
            Error::new(ErrorKind::Encoding, text)
        })
    }
    fn invoke(self: Box<Self>, object: &mut T, ctx: &Context<T>, form: Form) -> Result<R, Stop<E>>;
}

/// A business method with its arguments.
pub(crate) struct MethodCall<T: DurableObject, A, R, E> {
    pub(crate) method: Method<T, A, R, E>,
    pub(crate) arguments: A,
}

impl<T, A, R, E> Invocation<T, R, E> for MethodCall<T, A, R, E>
where
    T: DurableObject,
    A: Send,
{
    fn method(&self) -> &'static str {
        self.method.info.name
    }

    fn access(&self) -> Access {
        self.method.info.access
    }

    fn write_arguments(&self, message: Encoder) -> Result<Vec<u8>, WireError> {
        let written = message.write(|message| (self.method.encode)(&self.arguments, message))?;
        Ok(written.finish())
    }

    fn read_reply(&self, reply: &WireReply) -> Result<Result<R, E>, WireError> {
        (self.method.decode)(reply)
    }

    fn invoke(self: Box<Self>, object: &mut T, ctx: &Context<T>, form: Form) -> Result<R, Stop<E>> {
        let MethodCall { method, arguments } = *self;
        match form {
            Form::Moved => (method.invoke)(object, ctx, arguments).map_err(Stop::Application),
            Form::Wire => through_wire(&method, &arguments, object, ctx)
                .map_err(Stop::Wire)?
                .map_err(Stop::Application),
        }
    }
}

/// Calls a method as a caller in another process would.
fn through_wire<T: DurableObject, A, R, E>(
    method: &Method<T, A, R, E>,
    arguments: &A,
    object: &mut T,
    ctx: &Context<T>,
) -> Result<Result<R, E>, WireError> {
    let name = method.info.name;
    let unknown = || WireError::UnknownMethod(name.to_owned());
    let shape = MethodDescription::of::<T>(name).ok_or_else(unknown)?.shape();
    let message = Encoder::agreed(shape).write(|message| (method.encode)(arguments, message))?;
    let message = message.finish();
    let mut input = Decoder::new(&message)?.agreed(shape);
    let reply: WireReply = object.dispatch(ctx, name, &mut input)?;
    (method.decode)(&reply)
}

/// A closure, from [`Handle::turn`](crate::Handle::turn) or the runtime itself.
pub(crate) struct ClosureCall<F> {
    pub(crate) info: MethodInfo,
    pub(crate) closure: F,
}

impl<T, R, E, F> Invocation<T, R, E> for ClosureCall<F>
where
    T: DurableObject,
    F: FnOnce(&mut T, &Context<T>) -> Result<R, E> + Send,
{
    fn method(&self) -> &'static str {
        self.info.name
    }

    fn access(&self) -> Access {
        self.info.access
    }

    fn invoke(self: Box<Self>, object: &mut T, ctx: &Context<T>, _: Form) -> Result<R, Stop<E>> {
        (self.closure)(object, ctx).map_err(Stop::Application)
    }
}

impl<T: DurableObject> Live<T> {
    /// Runs one turn. Whoever runs it has made the instance ready.
    pub(crate) fn run<R, E>(&mut self, invocation: Box<dyn Invocation<T, R, E>>) -> Turned<R, E> {
        self.run_waiting(invocation, &Waiting::not())
    }

    /// Runs one turn that had to wait.
    pub(crate) fn run_waiting<R, E>(
        &mut self,
        invocation: Box<dyn Invocation<T, R, E>>,
        waiting: &Waiting,
    ) -> Turned<R, E> {
        self.note_use();
        let turned = match self.check_ready() {
            Ok(()) => {
                let outcome = self.counted_turn(invocation, waiting);
                Turned { outcome, receipt: self.ctx.receipt() }
            }
            Err(failure) => {
                Turned { outcome: Err(failure.widen()), receipt: self.ctx.store().receipt() }
            }
        };
        self.after_turn();
        if self.ctx.node().settings.harness.evicts_between_turns && !self.session.is_pinned() {
            self.refresh();
        }
        turned
    }

    /// Lets go of what cannot be used for another turn.
    pub(super) fn after_turn(&mut self) {
        if self.ctx.store().is_failed() {
            // Its fields may be ahead of what a new connection finds.
            dispose(self.instance.take());
            self.ctx.reset_store();
        }
        if self.session.is_over() {
            dispose(self.instance.take());
        }
        if self.used_storage() {
            self.weigh();
        }
    }

    /// Runs a turn of the runtime's own, which needs the database and no instance, so that it can follow one that has
    /// undone the instance, or has reset the object. Where every turn gets a fresh instance, the next one gets the one that
    /// is there: no code of the object's has had it.
    pub(crate) fn own_turn<R>(
        &mut self,
        code: impl FnOnce(&Context<T>) -> crate::Result<R>,
    ) -> Result<R, Failure> {
        if !self.ctx.store().is_active() {
            self.open()?;
        }
        self.ctx.begin_turn(Access::Write);
        let ended = match guarded(|| code(&self.ctx)) {
            Ok(Ok(value)) => self.commit().map(|()| value),
            Ok(Err(error)) => {
                self.roll_back();
                Err(CallError::StorageFailed(error))
            }
            Err(message) => {
                self.roll_back();
                Err(CallError::Panicked { method: "alarm", message })
            }
        };
        self.after_turn();
        ended
    }

    /// Counts a turn.
    fn count_turn(&self) {
        let turns = &self.ctx.object().turns;
        // Not an addition in one step: nobody else writes it.
        turns.store(turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Runs the turn, in the sight of whoever wants to know of it.
    fn counted_turn<R, E>(
        &mut self,
        invocation: Box<dyn Invocation<T, R, E>>,
        waiting: &Waiting,
    ) -> Result<R, CallError<E>> {
        let method = invocation.method();
        let _on_post = self.take_post(method);
        self.count_turn();
        if self.ctx.object().meters().is_timed || turns::is_traced() {
            return self.observed_turn(invocation, method, waiting);
        }
        let ended = self.turn(invocation, method, None);
        self.ctx.object().meters().count(turns::outcome_of(&ended));
        ended
    }

    #[cold]
    fn observed_turn<R, E>(
        &mut self,
        invocation: Box<dyn Invocation<T, R, E>>,
        method: &'static str,
        waiting: &Waiting,
    ) -> Result<R, CallError<E>> {
        let is_timed = self.ctx.object().meters().is_timed;
        let observed = ObservedTurn::begin(self.ctx.identity(), method, waiting, is_timed);
        let ended = {
            let _inside = observed.enter();
            self.turn(invocation, method, Some(&observed))
        };
        let outcome = turns::outcome_of(&ended);
        let times = observed.end(outcome);
        self.ctx.object().meters().count(outcome);
        self.ctx.object().meters().time(times);
        ended
    }

    /// Lets those who look for long turns know that this method begins.
    pub(super) fn take_post(&self, method: &'static str) -> OnPost {
        let node = self.ctx.node();
        node.watch.begin(node, std::sync::Arc::as_ptr(self.ctx.object()).addr(), method)
    }

    fn turn<R, E>(
        &mut self,
        invocation: Box<dyn Invocation<T, R, E>>,
        method: &'static str,
        observed: Option<&ObservedTurn>,
    ) -> Result<R, CallError<E>> {
        // Taken out for the turn, so that nothing but a good end puts it back.
        let Some(mut instance) = self.instance.take() else {
            return Err(self.not_ready());
        };
        self.ctx.begin_turn(invocation.access());
        let form = self.ctx.node().settings.form;
        let ended = guarded(|| invocation.invoke(&mut instance, &self.ctx, form));
        if let Some(observed) = observed {
            observed.code_returned();
        }
        if let Some(reset) = self.reset_meanwhile() {
            self.roll_back();
            self.keep_wish();
            dispose((ended, instance));
            return Err(reset.widen());
        }
        match ended {
            Ok(Ok(value)) => match self.commit() {
                Ok(()) => {
                    self.instance = Some(instance);
                    Ok(value)
                }
                Err(failure) => {
                    dispose(instance);
                    Err(failure)
                }
            },
            Ok(Err(stop)) => {
                let wrote = self.ctx.store().wrote();
                self.roll_back();
                if wrote {
                    dispose(instance);
                } else {
                    self.instance = Some(instance);
                }
                Err(match stop {
                    Stop::Application(error) => CallError::Application(error),
                    Stop::Wire(error) => {
                        CallError::Incompatible { method, reason: error.to_string() }
                    }
                })
            }
            Err(message) => {
                self.roll_back();
                dispose(instance);
                event!(error, self.ctx.identity(), method, reason = message, "a method panicked");
                Err(CallError::Panicked { method, message })
            }
        }
    }

    /// Opens the database if the last turn has deleted it. The instance is there, or the object was reset
    /// after whoever runs had got hold of it.
    fn check_ready(&mut self) -> Result<(), Failure> {
        if self.is_ready() { self.make_ready() } else { Err(self.not_ready()) }
    }

    /// Why a turn cannot run: the object was reset after its caller had got hold of it.
    fn not_ready<E>(&self) -> CallError<E> {
        let reason = self.session.over.reason();
        let reason = reason.map_or_else(|| "it has no instance".to_owned(), ToString::to_string);
        CallError::Reset { reason, started: false }
    }

    /// Whether the last turn touched storage.
    pub(crate) fn used_storage(&self) -> bool {
        self.ctx.store().was_used()
    }

    /// Resets the object if the turn asked for it. Why the turn must not commit, if the object was reset
    /// while it ran, by itself or by somebody else.
    pub(super) fn reset_meanwhile(&mut self) -> Option<Failure> {
        if let Some(reason) = self.ctx.take_abort() {
            self.ctx.object().end_session(&self.session, &reason);
        }
        let reason = self.session.over.reason()?.to_string();
        Some(CallError::Reset { reason, started: false })
    }

    /// Stores what a turn that has aborted wants the object restored to.
    pub(super) fn keep_wish(&mut self) {
        let Some(point) = self.ctx.take_wish() else { return };
        self.ctx.begin_turn(Access::Write);
        let kept = match self.ctx.store().write_wish(point) {
            Ok(()) => self.commit().map_err(|failure: Failure| failure.to_string()),
            Err(error) => {
                self.roll_back();
                Err(error.to_string())
            }
        };
        if let Err(reason) = kept {
            event!(error, self.ctx.identity(), reason, "an object is not going to be restored");
        }
    }

    /// Commits the turn and lets its background futures go.
    pub(super) fn commit<E>(&mut self) -> Result<(), CallError<E>> {
        if let Some(doomed) = self.ctx.store().doomed() {
            self.roll_back();
            return Err(CallError::RolledBack(doomed));
        }
        // Guarded, since it asks the clock, which may be the user's.
        match guarded(|| self.ctx.commit_turn(&self.session)) {
            Ok(Ok(())) => Ok(()),
            Err(message) => {
                self.roll_back();
                Err(CallError::Panicked { method: "commit", message })
            }
            Ok(Err(error)) => {
                self.roll_back();
                if let ErrorKind::Constraint | ErrorKind::RolledBack = error.kind() {
                    return Err(CallError::RolledBack(error));
                }
                // The connection may believe in a commit that is none, so the database is opened anew.
                self.ctx.reset_store();
                Err(match error.kind() {
                    ErrorKind::Storage => CallError::StorageFailed(error),
                    _ => CallError::RolledBack(error),
                })
            }
        }
    }

    pub(super) fn roll_back(&mut self) {
        self.ctx.roll_back_turn();
    }
}

/// Runs user code: marks the thread, and turns a panic into its message.
pub(crate) fn guarded<V>(code: impl FnOnce() -> V) -> Result<V, String> {
    let mark = TurnMark::set();
    let ended = catch_unwind(AssertUnwindSafe(code));
    drop(mark);
    ended.map_err(message_of)
}

/// The message of a panic; drops the payload.
pub(crate) fn message_of(payload: Box<dyn Any + Send>) -> String {
    let message = panic_message(payload.as_ref());
    // Its `Drop` is user code as well, and may panic.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    message
}

/// Drops an instance that is no longer wanted; its `Drop` is user code too.
pub(crate) fn dispose<V>(value: V) {
    if let Err(message) = guarded(|| drop(value)) {
        note!(error, reason = message, "dropping an instance panicked");
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
