//! What an object has to do by itself, where something is in its way: too much at once, a gate that stays closed, an alarm that
//! never rests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::Error;
use durable::prelude::*;
use durable::testing::TestRuntime;
use durable_tests::on_one_thread;

const HOUR: Duration = Duration::from_hours(1);
const MIB: usize = 1_024 * 1_024;

/// What the test decides about the world.
#[derive(Default)]
struct World {
    /// How many gates fail from now on.
    gates: AtomicUsize,
}

/// Sends.
#[derive(Default)]
struct Writer;

#[durable_object]
impl Writer {
    pub fn post_large(&mut self, ctx: &Context, count: usize, bytes: usize) -> Result<()> {
        let shelf = ctx.namespace::<Shelf>().get_by_name("s");
        (0..count).try_for_each(|_| ctx.send_at(After(HOUR), shelf.refuse("x".repeat(bytes))))
    }

    pub fn greet(&mut self, ctx: &Context, text: String) -> Result<()> {
        ctx.send(ctx.namespace::<Loader>().get_by_name("l").hear(text))
    }

    pub fn never_rest(&mut self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(After(Duration::ZERO))
    }

    pub fn tell_shelf(&mut self, ctx: &Context) -> Result<()> {
        ctx.send(ctx.namespace::<Shelf>().get_by_name("s").count())
    }

    pub fn pending(&self, ctx: &Context) -> Result<u64> {
        ctx.pending_messages()
    }

    pub fn dead_letters(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.dead_letters()?.into_iter().map(|letter| letter.reason).collect())
    }

    fn alarm(&mut self, ctx: &Context<Self>, _: AlarmInfo) -> Result<()> {
        ctx.set_alarm(After(Duration::ZERO))
    }
}

#[derive(Default)]
struct Shelf;

#[durable_object]
impl Shelf {
    pub fn refuse(&mut self, _text: String) -> Result<()> {
        Err(Error::other("no room"))
    }

    pub fn count(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("count", &(self.counted(ctx)? + 1))
    }

    pub fn counted(&self, ctx: &Context) -> Result<u32> {
        Ok(ctx.kv().get("count")?.unwrap_or(0))
    }
}

/// Has all kinds of work.
#[derive(Default)]
struct Clerk;

#[durable_object]
impl Clerk {
    pub fn begin(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.set_alarm(After(HOUR))?;
        ctx.schedule("timer", After(HOUR), ctx.this().note("timer".into()))?;
        ctx.send(ctx.this().note("message".into()))
    }

    pub fn note(&mut self, ctx: &Context<Self>, what: String) -> Result<()> {
        let mut notes = self.notes(ctx)?;
        notes.push(what);
        ctx.kv().put("notes", &notes)
    }

    pub fn notes(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("notes")?.unwrap_or_default())
    }

    fn alarm(&mut self, ctx: &Context<Self>, alarm: AlarmInfo) -> Result<()> {
        self.note(ctx, format!("alarm {}", alarm.retry_count))
    }
}

/// Loads something behind its gate before it is ready.
struct Loader;

#[durable_object]
impl Loader {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        let world = Arc::clone(ctx.env::<Arc<World>>()?);
        ctx.block_concurrency_while(move |_| async move {
            let less = |left: usize| left.checked_sub(1);
            match world.gates.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
                Ok(_) => Err(Error::other("the source is away")),
                Err(_) => Ok(()),
            }
        });
        Ok(Loader)
    }

    pub fn hear(&mut self, ctx: &Context, text: String) -> Result<()> {
        let mut heard = self.heard(ctx)?;
        heard.push(text);
        ctx.kv().put("heard", &heard)
    }

    pub fn heard(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("heard")?.unwrap_or_default())
    }
}

async fn start() -> (TestRuntime, Arc<World>) {
    let world = Arc::<World>::default();
    let env = world.clone();
    let runtime = TestRuntime::start(move |builder| {
        let builder = builder.register::<Writer>().register::<Shelf>().register::<Loader>();
        builder.env(Arc::clone(&env))
    });
    (runtime.await.unwrap(), world)
}

#[test]
fn more_than_fits_in_one_turn_may_become_due_and_be_refused_at_once() {
    on_one_thread(async {
        let (runtime, _) = start().await;
        let writer = runtime.get::<Writer>("w");
        for _ in 0..3 {
            writer.post_large(5, 6 * MIB).await.unwrap();
        }
        runtime.advance(2 * HOUR).await.unwrap();
        assert_eq!(writer.pending().await.unwrap(), 0);
        assert_eq!(writer.dead_letters().await.unwrap(), ["no room"; 15]);
    });
}

#[test]
fn a_receiver_whose_gate_fails_is_one_that_cannot_be_reached() {
    on_one_thread(async {
        let (runtime, world) = start().await;
        world.gates.store(usize::MAX, Ordering::SeqCst);
        let writer = runtime.get::<Writer>("w");
        writer.greet("hello".into()).await.unwrap();
        runtime.advance(24 * HOUR).await.unwrap();
        assert_eq!(writer.dead_letters().await.unwrap(), [""; 0]);
        world.gates.store(0, Ordering::SeqCst);
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Loader>("l").heard().await.unwrap(), ["hello"]);
    });
}

#[test]
fn an_object_that_is_slowed_down_still_sends() {
    on_one_thread(async {
        let (runtime, _) = start().await;
        let writer = runtime.get::<Writer>("w");
        writer.never_rest().await.unwrap();
        runtime.settle().await.unwrap();
        writer.tell_shelf().await.unwrap();
        runtime.settle().await.unwrap();
        assert_eq!(runtime.get::<Shelf>("s").counted().await.unwrap(), 1);
    });
}

#[test]
fn a_fresh_instance_for_each_turn_does_all_kinds_of_work() {
    on_one_thread(async {
        let fresh = TestRuntime::builder().evict_between_turns();
        let runtime = fresh.start(|builder| builder.register::<Clerk>()).await.unwrap();
        let clerk = runtime.get::<Clerk>("c");
        clerk.begin().await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(clerk.notes().await.unwrap(), ["message", "alarm 0", "timer"]);
    });
}
