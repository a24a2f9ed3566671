//! The steps of one run of a case, one after the other.
//!
//! The guarantee: time stands still, except for as long as a step needs it to pass, and a step is over when all is
//! quiet. So a run gives the same results each time, and a case of an hour takes milliseconds.

use std::collections::{BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use durable::{BoxFuture, Context, DurableObject, Error, Namespace, ObjectId, Result};
use futures_util::future::{Either, join_all, select};
use futures_util::poll;
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use super::Stage;
use super::clients::{Client, Clients};
use crate::case::{Call, Class, Step, Wait};
use crate::differences::Rule;
use crate::object::{NoAlarm, Replayer};
use crate::run::{Answer, Called};
use crate::{errors, ids};

/// How long a call may take, on the runtime's clock: some wait for a limit of half a minute.
const CALL_TIME_MAX: Duration = Duration::from_mins(10);

/// How often the executor is let run before a call that has ended by the clock counts as unanswered.
const LAST_LOOKS: usize = 10_000;

/// How long an eviction waits for what runs in the object, and how often it looks.
const EVICTION_TIME_MAX: Duration = Duration::from_secs(30);
const EVICTION_LOOK: Duration = Duration::from_millis(10);

/// How long the process may take to stop, as at the recording.
const STOP_TIME_MAX: Duration = Duration::from_millis(2_500);

/// One run of a case.
pub(super) struct Run<'a> {
    pub(super) stage: &'a mut Stage,
    /// The ids that operations have named.
    ids: HashMap<String, ids::AnyId>,
    /// Calls that were started.
    begun: HashMap<String, JoinHandle<Answer>>,
    pub(super) clients: Clients,
}

impl<'a> Run<'a> {
    pub(super) fn new(stage: &'a mut Stage) -> Self {
        let (ids, begun, clients) = (HashMap::new(), HashMap::new(), Clients::new());
        Run { stage, ids, begun, clients }
    }

    /// Gives the results, and the differences that came into play.
    pub(super) async fn steps(mut self, steps: &[Step]) -> (Vec<Json>, BTreeSet<Rule>) {
        let mut results = Vec::new();
        for step in steps {
            let result = self.step(step).await;
            results.push(result.unwrap_or_else(|error| json!({ "error": errors::record(&error) })));
        }
        let met = self.stage.world.met();
        // That these have gone is no part of the case any more.
        self.clients.clear();
        let _ = self.stage.runtime.settle().await;
        (results, met)
    }

    async fn step(&mut self, step: &Step) -> Result<Json> {
        match step {
            Step::Call(call) => Ok(self.together(std::slice::from_ref(call)).await?.remove(0)),
            Step::Together(calls) | Step::OnStub { together: true, calls } => {
                Ok(self.together(calls).await?.into())
            }
            Step::OnStub { together: false, calls } => self.in_a_row(calls).await,
            Step::Ids(ops) => {
                let (main, other) = (self.namespace(), self.stage.runtime.namespace::<NoAlarm>());
                Ok(ops.iter().map(|op| ids::perform(op, &main, &other, &mut self.ids)).collect())
            }
            Step::Client { client, step } => self.client(client, step).await,
            Step::Script { object, script } => {
                self.stage.world.set_script(&self.id(object)?.to_string(), script);
                Ok(Json::Null)
            }
            Step::Log { object, clear, wait } => self.log(object, *clear, *wait).await,
            Step::Sleep(ms) => self.pass(*ms).await,
            Step::Evict(object) => self.evict(Some(object)).await,
            Step::EvictAll => self.evict(None).await,
            Step::AbortAll => self.abort_all().await,
            Step::Restart { kill } => self.restart(*kill).await,
            Step::Begin { call, id, after } => self.begin(call, id, *after).await,
            Step::Join(id) => self.join(id).await,
            Step::NotYet(_) => Ok(Json::Null),
        }
    }

    pub(super) fn namespace(&self) -> Namespace<Replayer> {
        self.stage.runtime.namespace()
    }

    pub(super) fn id(&self, alias: &str) -> Result<ObjectId<Replayer>> {
        self.namespace().id_from_name(&self.stage.world.object_name(alias))
    }

    async fn together(&mut self, calls: &[Call]) -> Result<Vec<Json>> {
        let begun = calls.iter().map(|call| self.call(call)).collect::<Result<Vec<_>>>()?;
        let answers = self.with_time(join_all(begun), CALL_TIME_MAX).await?;
        let answers = answers.unwrap_or_else(|| calls.iter().map(|_| no_answer()).collect());
        Ok(answers.into_iter().map(|answer| answer.reply.record()).collect())
    }

    /// Through one stub. There it is of no use any more when its object was reset.
    async fn in_a_row(&mut self, calls: &[Call]) -> Result<Json> {
        let (mut answers, mut broken) = (Vec::new(), None);
        for call in calls {
            if let Some(threw) = &broken
                && self.stage.world.emulates(Rule::NothingBreaksTheObject)
            {
                answers.push(Answer::failed(Clone::clone(threw)));
                continue;
            }
            let call = self.call(call)?;
            let answer = self.with_time(call, CALL_TIME_MAX).await?.unwrap_or_else(no_answer);
            if answer.was_reset {
                broken.clone_from(&answer.reply.threw);
            }
            answers.push(answer);
        }
        Ok(answers.into_iter().map(|answer| answer.reply.record()).collect())
    }

    fn call(&self, call: &Call) -> Result<BoxFuture<Answer>> {
        let name = self.stage.world.object_name(&call.object);
        let called = match call.class {
            Class::Main => {
                let namespace = self.namespace();
                let id = id_of(&namespace, &name, call.unique)?;
                Called::Main(namespace, id)
            }
            Class::NoAlarm => {
                let namespace = self.stage.runtime.namespace();
                let id = id_of(&namespace, &name, call.unique)?;
                Called::NoAlarm(namespace, id)
            }
        };
        let (world, ops) = (Arc::clone(&self.stage.world), Arc::clone(&call.ops));
        Ok(Box::pin(async move { called.send(&world, &ops).await }))
    }

    async fn begin(&mut self, call: &Call, id: &str, after: u64) -> Result<Json> {
        let mut call = self.call(call)?;
        // Sent before anything else happens; then it goes on by itself.
        let begun = match poll!(&mut call) {
            Poll::Ready(answer) => tokio::spawn(async { answer }),
            Poll::Pending => tokio::spawn(call),
        };
        self.begun.insert(id.to_owned(), begun);
        self.pass(after).await
    }

    async fn join(&mut self, id: &str) -> Result<Json> {
        let begun = self.begun.remove(id);
        let mut begun = begun.ok_or_else(|| Error::other("no call was started as that"))?;
        let mut answer = self.with_time(&mut begun, CALL_TIME_MAX).await?;
        // The executor may still have to tell that its task is done.
        for _ in 0..LAST_LOOKS {
            if answer.is_some() {
                break;
            }
            if begun.is_finished() {
                answer = Some((&mut begun).await);
                break;
            }
            tokio::task::yield_now().await;
        }
        let answer = answer.and_then(std::result::Result::ok).unwrap_or_else(no_answer);
        Ok(answer.reply.record())
    }

    /// Lets time pass until the work is done or the limit reached, and then waits until all is quiet.
    pub(super) async fn with_time<F: Future>(
        &self,
        work: F,
        limit: Duration,
    ) -> Result<Option<F::Output>> {
        let runtime = &self.stage.runtime;
        let done = match select(pin!(work), pin!(runtime.advance(limit))).await {
            Either::Left((output, _)) => Some(output),
            Either::Right((advanced, _)) => {
                advanced?;
                None
            }
        };
        runtime.settle().await?;
        Ok(done)
    }

    async fn pass(&self, millis: u64) -> Result<Json> {
        self.stage.runtime.advance(Duration::from_millis(millis)).await?;
        Ok(Json::Null)
    }

    async fn log(&self, alias: &str, clear: bool, wait: Option<Wait>) -> Result<Json> {
        let (world, id) = (&self.stage.world, self.id(alias)?.to_string());
        if let Some(Wait { events, timeout, settle }) = wait {
            let enough = poll_fn(|_| match world.events(&id).len() {
                there if there >= events => Poll::Ready(()),
                _ => Poll::Pending,
            });
            self.with_time(enough, Duration::from_millis(timeout)).await?;
            self.pass(settle).await?;
        }
        let events = world.events(&id).into();
        if clear {
            world.clear_log(&id);
        }
        Ok(events)
    }

    /// The reference's hook waits for what runs in the object.
    async fn evict(&self, alias: Option<&str>) -> Result<Json> {
        if self.is_evicted_within(alias, EVICTION_TIME_MAX).await? {
            return Ok(Json::Null);
        }
        Err(Error::other("what runs in the object does not end"))
    }

    /// Evicts one object, or all, as soon as nothing runs there any more.
    async fn is_evicted_within(&self, alias: Option<&str>, limit: Duration) -> Result<bool> {
        let runtime = &self.stage.runtime;
        let stub = alias.map(|alias| Ok::<_, Error>(self.namespace().get(&self.id(alias)?)));
        let stub = stub.transpose()?;
        let mut waited = Duration::ZERO;
        loop {
            let is_evicted = match &stub {
                Some(stub) => runtime.evict(stub).await?,
                None => runtime.evict_all().await?,
            };
            if is_evicted || waited >= limit {
                return Ok(is_evicted);
            }
            runtime.advance(EVICTION_LOOK).await?;
            waited += EVICTION_LOOK;
        }
    }

    async fn abort_all(&self) -> Result<Json> {
        let (runtime, namespace) = (&self.stage.runtime, self.namespace());
        for id in self.stage.world.objects() {
            let Ok(id) = namespace.id_from_string(&id) else { continue };
            let abort = |_: &mut Replayer, ctx: &Context<Replayer>| -> Result<()> {
                Err(ctx.abort("all objects are aborted"))
            };
            let stub = namespace.get(&id);
            // It ends with the error that it is to end with.
            let aborted =
                self.with_time(runtime.run_in_object(&stub, abort), CALL_TIME_MAX).await?;
            drop(aborted);
        }
        Ok(Json::Null)
    }

    /// Who is asked to stop is killed if it takes too long. There it waits for open sockets.
    async fn restart(&mut self, kill: bool) -> Result<Json> {
        self.stage.runtime.settle().await?;
        let ends = !kill && self.is_evicted_within(None, STOP_TIME_MAX).await?;
        let has_sockets = self.clients.values().any(Client::is_open);
        let waits = ends && has_sockets && self.stage.world.emulates(Rule::SocketsAreSeenTo);
        let ends = ends && !waits;
        self.stage.world.forget_the_process();
        if ends {
            self.stage.runtime.restart().await?;
        } else {
            self.stage.runtime.crash().await?;
        }
        self.stage.runtime.settle().await?;
        Ok(Json::Null)
    }
}

fn id_of<T: DurableObject>(
    namespace: &Namespace<T>,
    name: &str,
    unique: bool,
) -> Result<ObjectId<T>> {
    if unique { namespace.unique_id() } else { namespace.id_from_name(name) }
}

fn no_answer() -> Answer {
    Answer::failed(errors::error_of("no_answer", "there was no answer"))
}
