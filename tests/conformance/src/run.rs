//! Runs operations turn by turn.
//!
//! Operations that run at once share a turn, as code between two awaits does in the reference: what lets others in
//! there (a timer, `sync`, a call of an object) ends the turn and commits. What the reference's handler awaits is
//! awaited by an async handler here, and code behind a gate uses the gate's turns.
//!
//! The guarantee: after the object was reset nothing more is done. The operations then hang until the runtime drops them, as it
//! drops every handler of an object that was reset.

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use durable::{
    Body, BoxFuture, CallError, Context, Error, ErrorKind, GateHandle, Handle, Namespace, ObjectId,
    Request, Result,
};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::case::{Action, Op, Ops};
use crate::differences::Rule;
use crate::errors;
use crate::object::{Interpreter, NoAlarm, Replayer};
use crate::turn::{Turn, Undone};
use crate::value::Value;
use crate::world::{Progress, Reply, World};

/// How the operations reach their object.
#[derive(Debug)]
pub(crate) enum Way<T: Interpreter> {
    /// As everybody does.
    Open(Handle<T>),
    /// Past the gate that they hold closed.
    Gate(GateHandle<T>),
}

/// Where operations run, and where what they do is noted.
#[derive(Debug)]
pub(crate) struct Frame<T: Interpreter> {
    pub(crate) way: Way<T>,
    pub(crate) world: Arc<World>,
    pub(crate) progress: Progress,
    /// The time, in milliseconds, of the alarm that they are run for.
    pub(crate) alarm: Option<i64>,
    /// Whether what they throw resets the object.
    pub(crate) is_fatal: bool,
}

impl<T: Interpreter> Clone for Way<T> {
    fn clone(&self) -> Self {
        match self {
            Way::Open(handle) => Way::Open(handle.clone()),
            Way::Gate(gate) => Way::Gate(gate.clone()),
        }
    }
}

impl<T: Interpreter> Way<T> {
    async fn turn<E, F>(&self, code: F) -> Result<(), E>
    where
        F: FnOnce(&mut T, &Context<T>) -> Result<(), E> + Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match self {
            Way::Open(handle) => handle.turn(code).await,
            Way::Gate(gate) => gate.turn(code).await,
        }
    }

    async fn sleep(&self, duration: Duration) {
        match self {
            Way::Open(handle) => handle.sleep(duration).await,
            Way::Gate(gate) => gate.sleep(duration).await,
        }
    }

    fn namespace(&self) -> Namespace<Replayer> {
        match self {
            Way::Open(handle) => handle.namespace(),
            Way::Gate(gate) => gate.namespace(),
        }
    }
}

/// Runs operations until one throws.
pub(crate) fn run<T: Interpreter>(frame: Frame<T>, ops: Ops) -> BoxFuture<()> {
    Box::pin(async move {
        let mut at = 0;
        while at < ops.len() && frame.progress.threw().is_none() {
            let alone = |op: &Op| is_a_turn(&frame.world, op);
            let more = ops[at + 1..].iter().take_while(|op| !op.is_awaited() && !alone(op)).count();
            at = match &ops[at].action {
                Action::Block { .. } => frame.block(&ops, at, at + 1 + more).await,
                _ if ops[at].is_awaited() => {
                    let result = frame.wait(&ops[at]).await;
                    frame.progress.push(if ops[at].flag("nowait") { Json::Null } else { result });
                    at + 1
                }
                _ => {
                    let end = if alone(&ops[at]) { at + 1 } else { at + 1 + more };
                    frame.run_turn(&ops, at..end).await;
                    end
                }
            };
        }
    })
}

/// The reference's async transaction is a unit of its own, which nothing else gets into.
fn is_a_turn(world: &World, op: &Op) -> bool {
    is_async_transaction(op) && world.is_emulated(Rule::NoAsyncTransaction)
}

fn is_async_transaction(op: &Op) -> bool {
    matches!(op.action, Action::AsyncTransaction { .. })
}

impl<T: Interpreter> Frame<T> {
    /// A place that nothing is known of but how to get there.
    pub(crate) fn new(way: Way<T>, world: &Arc<World>, progress: &Progress) -> Self {
        let (world, progress) = (Arc::clone(world), progress.clone());
        Frame { way, world, progress, alarm: None, is_fatal: false }
    }

    /// Runs operations; what they throw is an error here.
    pub(crate) async fn run_to_success(self, ops: Ops) -> Result<()> {
        let progress = self.progress.clone();
        run(self, ops).await;
        match progress.threw() {
            None => Ok(()),
            Some(threw) => Err(errors::to_throw(&threw)),
        }
    }

    /// The same place, with results of its own.
    fn inner(&self) -> Frame<T> {
        let (way, world) = (self.way.clone(), Arc::clone(&self.world));
        Frame { way, world, progress: Progress::default(), ..*self }
    }

    async fn run_turn(&self, ops: &Ops, range: Range<usize>) {
        let of_turn = &ops[range.clone()];
        let is_alone = is_a_turn(&self.world, &ops[range.start]);
        let kept = self.progress.len();
        let (all, world, alarm) = (Arc::clone(ops), Arc::clone(&self.world), self.alarm);
        let (progress, is_fatal) = (self.progress.clone(), self.is_fatal);
        let done = self.way.turn(move |object, ctx| {
            let turn = Turn::new(object.memory(), ctx, &world, alarm);
            turn.run_all(&all[range], &progress, is_fatal)
        });
        match done.await {
            Ok(()) | Err(Undone::ByScript) => {}
            Err(Undone::Failed(error)) if error.kind() == ErrorKind::Reset => pending().await,
            Err(Undone::Failed(error)) => {
                // An async transaction whose own commit failed gave nothing.
                let kept = if is_alone { kept } else { usize::MAX };
                self.progress.fail(kept, errors::record(&error));
                if of_turn.iter().any(is_async_transaction) {
                    self.world.emulates(Rule::NoAsyncTransaction);
                }
                self.break_sockets(&error);
            }
        }
    }

    /// There, a commit that fails resets the object. That makes a difference to those who have a socket.
    fn break_sockets(&self, error: &Error) {
        if let Way::Open(handle) = &self.way
            && error.constraint().is_some()
            && self.world.has_accepted(&handle.id().to_string())
            && self.world.emulates(Rule::NothingBreaksTheObject)
        {
            self.progress.answer();
            handle.abort(error.message());
        }
    }

    /// An operation during which anything else may run in the object.
    async fn wait(&self, op: &Op) -> Json {
        match &op.action {
            Action::Sleep { ms } => self.way.sleep(Duration::from_millis(*ms)).await,
            Action::Call { obj, ops } => return self.call(obj, ops).await,
            Action::Branches { branches } => {
                let frames: Vec<_> = branches.iter().map(|ops| (self.inner(), ops)).collect();
                let replies: Vec<_> =
                    frames.iter().map(|(frame, _)| frame.progress.clone()).collect();
                join_all(frames.into_iter().map(|(frame, ops)| run(frame, Arc::clone(ops)))).await;
                return replies.iter().map(|progress| progress.reply().record()).collect();
            }
            // What came before is durable already: that is when a turn returns.
            _ => {}
        }
        Json::Null
    }

    async fn call(&self, alias: &str, ops: &Ops) -> Json {
        let name = self.world.object_name(alias);
        let reply = match self.way.namespace().id_from_name(&name) {
            Ok(id) => Called::Main(self.way.namespace(), id).send(&self.world, ops).await,
            Err(error) => Answer::failed(errors::record(&error)),
        };
        if reply.waits_for_itself && self.world.emulates(Rule::NothingBreaksTheObject) {
            // Until the gate's limit.
            return pending_in(&self.way).await;
        }
        reply.reply.record()
    }

    /// `blockConcurrencyWhile`. There, what the caller does next is done before anybody else is let in: from `at + 1` to
    /// `end`. Gives how far it came.
    async fn block(&self, ops: &Ops, at: usize, end: usize) -> usize {
        let nowait = ops[at].flag("nowait");
        let goes_on = end > at + 1 && !nowait && self.world.emulates(Rule::NoAsyncTransaction);
        let end = if goes_on { end } else { at + 1 };
        let (inside, after) = (Progress::default(), Progress::default());
        let code = self.behind_a_gate(ops, at..end, &inside, &after);
        if self.close_gate(code, nowait).await.is_err() {
            // The object was reset.
            return pending().await;
        }
        self.progress.push(match &ops[at].action {
            Action::Block { ret, .. } if !nowait => {
                let returned = ret.as_ref().map_or_else(Value::undefined, Value::read);
                json!({ "results": inside.reply().results, "returned": returned.record() })
            }
            _ => Json::Null,
        });
        let Reply { results, threw, .. } = after.reply();
        self.progress.add(results, threw);
        end
    }

    /// What runs behind a gate: the operations of the first of the `range`, and then the rest of it.
    fn behind_a_gate(
        &self,
        ops: &Ops,
        range: Range<usize>,
        inside: &Progress,
        after: &Progress,
    ) -> impl FnOnce(GateHandle<T>) -> BoxFuture<Result<()>> + Send + 'static {
        let (world, alarm) = (Arc::clone(&self.world), self.alarm);
        let (inside, after) = (inside.clone(), after.clone());
        let first_ops = match &ops[range.start].action {
            Action::Block { ops, .. } => Arc::clone(ops),
            _ => Ops::default(),
        };
        let rest_ops: Ops = ops[range.start + 1..range.end].into();
        move |gate| {
            let way = Way::Gate(gate);
            let first = Frame { alarm, is_fatal: true, ..Frame::new(way.clone(), &world, &inside) };
            let rest = Frame { alarm, ..Frame::new(way, &world, &after) };
            Box::pin(async move {
                first.run_to_success(first_ops).await?;
                run(rest, rest_ops).await;
                Ok(())
            })
        }
    }

    /// Runs code behind a gate, and waits for it if that is wanted.
    async fn close_gate<F>(&self, code: F, nowait: bool) -> Result<()>
    where
        F: FnOnce(GateHandle<T>) -> BoxFuture<Result<()>> + Send + 'static,
    {
        match &self.way {
            Way::Open(handle) if !nowait => handle.block_concurrency_while(code).await,
            way => {
                let close = move |_: &mut T, ctx: &Context<T>| -> Result<()> {
                    ctx.block_concurrency_while(code);
                    Ok(())
                };
                way.turn(close).await?;
                // The next turn of a gate comes after the gate inside it.
                if nowait { Ok(()) } else { way.turn(|_, _| Ok(())).await }
            }
        }
    }
}

/// Waits for what never comes, as far as the runtime can tell on its clock.
async fn pending_in<T: Interpreter>(way: &Way<T>) -> Json {
    way.sleep(Duration::from_hours(24)).await;
    Json::Null
}

/// An object that is called.
#[derive(Debug)]
pub(crate) enum Called {
    Main(Namespace<Replayer>, ObjectId<Replayer>),
    NoAlarm(Namespace<NoAlarm>, ObjectId<NoAlarm>),
}

/// What came back from a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// Whether the object was reset meanwhile.
    pub(crate) was_reset: bool,
    /// Whether the call would have waited for itself.
    waits_for_itself: bool,
}

impl Answer {
    /// That of a call which never reached its object.
    pub(crate) fn failed(threw: Json) -> Answer {
        Answer { reply: Reply { threw: Some(threw), ..Reply::default() }, ..Answer::default() }
    }
}

impl Called {
    /// Calls the object with operations.
    pub(crate) async fn send(self, world: &World, ops: &Ops) -> Answer {
        let (number, progress) = world.ask(ops);
        let request = Request::new(Body::from(number.to_string()));
        let response = match self {
            Called::Main(namespace, id) => namespace.get(&id).fetch(request).await,
            Called::NoAlarm(namespace, id) => namespace.get(&id).fetch(request).await,
        };
        let failure = match &response {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => {
                let text = format!("the object answered {}", response.status());
                Some(errors::error_of("internal_error", &text))
            }
            Err(error) => Some(errors::record_call(error)),
        };
        let reply = progress.reply();
        let failure = failure.filter(|_| !reply.is_answered);
        let mut answer = Answer {
            reply,
            was_reset: matches!(response, Err(CallError::Reset { .. })),
            waits_for_itself: matches!(response, Err(CallError::Deadlock(_))),
        };
        answer.reply.threw = failure.or(answer.reply.threw);
        answer
    }
}
