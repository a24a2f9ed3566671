//! Messages between objects: that each has its effect once and in its order, and what becomes of those that cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{DeadLetter, Error, ErrorKind};
use durable_tests::{matrix, on_one_thread};

const HOUR: Duration = Duration::from_hours(1);

/// What the test decides about the world.
#[derive(Default)]
struct World {
    /// Constructions of a [`Shy`] that fail from now on.
    shy: AtomicUsize,
}

/// Holds money, and passes it on.
#[derive(Default)]
struct Account;

#[durable_object]
impl Account {
    pub fn deposit(&mut self, ctx: &Context, amount: i64) -> Result<i64> {
        let balance = balance(ctx)? + amount;
        ctx.kv().put("balance", &balance)?;
        Ok(balance)
    }

    pub fn balance(&self, ctx: &Context) -> Result<i64> {
        balance(ctx)
    }

    /// Sends money to another account, which may be this one.
    pub fn transfer(&mut self, ctx: &Context, to: &str, amount: i64) -> Result<()> {
        ctx.kv().put("balance", &(balance(ctx)? - amount))?;
        ctx.send(ctx.namespace::<Account>().get_by_name(to).deposit(amount))
    }

    /// As much as there is goes round a ring of accounts.
    pub fn pass_on(
        &mut self,
        ctx: &Context,
        ring: Vec<String>,
        hops: u32,
        amount: i64,
    ) -> Result<()> {
        ctx.kv().put("hops", &(ctx.kv().get::<u32>("hops")?.unwrap_or(0) + 1))?;
        if hops == 0 {
            return ctx.kv().put("balance", &(balance(ctx)? + amount));
        }
        let at = ring.iter().position(|name| Some(name.as_str()) == ctx.name()).unwrap_or(0);
        let next = ctx.namespace::<Account>().get_by_name(&ring[(at + 1) % ring.len()]);
        ctx.send(next.pass_on(ring.clone(), hops - 1, amount))
    }

    pub fn transfer_and_fail(&mut self, ctx: &Context, to: &str) -> Result<()> {
        ctx.send(ctx.namespace::<Account>().get_by_name(to).deposit(1))?;
        Err(Error::other("on second thought"))
    }

    pub fn close(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }
}

fn balance(ctx: &Context) -> Result<i64> {
    Ok(ctx.kv().get("balance")?.unwrap_or(0))
}

/// Writes down what it is told, and fails when it is told to.
#[derive(Default)]
struct Scribe;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Refusal {
    TooLong { letters: usize },
    Storage(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Storage(error.to_string())
    }
}

#[durable_object]
impl Scribe {
    pub fn write(&mut self, ctx: &Context<Self>, text: String) -> std::result::Result<(), Refusal> {
        let mut lines = ctx.kv().get::<Vec<String>>("lines")?.unwrap_or_default();
        lines.push(text.clone());
        ctx.kv().put("lines", &lines)?;
        match text.as_str() {
            "panic" => panic!("no ink"),
            "abort" => Err(ctx.abort("the table fell over").into()),
            _ if text.len() > 20 => Err(Refusal::TooLong { letters: text.len() }),
            _ => Ok(()),
        }
    }

    pub fn lines(&self, ctx: &Context) -> Result<Vec<String>> {
        Ok(ctx.kv().get("lines")?.unwrap_or_default())
    }
}

/// Sends texts to scribes.
#[derive(Default)]
struct Author;

#[durable_object]
impl Author {
    pub fn dictate(&mut self, ctx: &Context, to: &str, texts: Vec<String>) -> Result<()> {
        let scribe = ctx.namespace::<Scribe>().get_by_name(to);
        texts.into_iter().try_for_each(|text| ctx.send(scribe.write(text)))
    }

    pub fn dictate_at(
        &mut self,
        ctx: &Context,
        to: &str,
        after: Duration,
        text: String,
    ) -> Result<()> {
        ctx.send_at(After(after), ctx.namespace::<Scribe>().get_by_name(to).write(text))
    }

    pub fn greet(&mut self, ctx: &Context, text: String) -> Result<()> {
        ctx.send(ctx.namespace::<Shy>().get_by_name("s").hear(text))
    }

    pub fn dead_letters(&self, ctx: &Context) -> Result<Vec<String>> {
        let words = |letter: DeadLetter| {
            let name = letter.receiver_name.unwrap_or_default();
            format!("{} {name} {}: {}", letter.receiver_class, letter.method, letter.reason)
        };
        Ok(ctx.dead_letters()?.into_iter().map(words).collect())
    }

    pub fn resend(&mut self, ctx: &Context) -> Result<bool> {
        let first = ctx.dead_letters()?.first().map_or(0, |letter| letter.id);
        ctx.resend_dead_letter(first)
    }

    pub fn forget(&mut self, ctx: &Context) -> Result<bool> {
        let first = ctx.dead_letters()?.first().map_or(0, |letter| letter.id);
        ctx.delete_dead_letter(first)
    }

    pub fn send_while_reading(&self, ctx: &Context) -> Result<()> {
        ctx.send(ctx.namespace::<Scribe>().get_by_name("s").write("no".into()))
    }
}

/// Cannot always be activated.
struct Shy;

#[durable_object]
impl Shy {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        let shy = &ctx.env::<Arc<World>>()?.shy;
        match shy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(Error::other("not today")),
            Err(_) => Ok(Shy),
        }
    }

    pub fn hear(&mut self, ctx: &Context, text: String) -> Result<()> {
        let mut heard = ctx.kv().get::<Vec<String>>("heard")?.unwrap_or_default();
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
        let builder = builder.register::<Account>().register::<Scribe>();
        builder.register::<Author>().register::<Shy>().env(Arc::clone(&env))
    });
    (runtime.await.unwrap(), world)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn total(runtime: &Runtime, accounts: &[String]) -> i64 {
    let mut total = 0;
    for name in accounts {
        total += runtime.get::<Account>(name).balance().await.unwrap();
    }
    total
}

matrix! {
    async fn a_message_arrives_by_itself(bed) {
        let runtime = bed.builder().register::<Account>().start().await.unwrap();
        let (a, b) = (runtime.get::<Account>("a"), runtime.get::<Account>("b"));
        a.transfer("b", 5).await.unwrap();
        while b.balance().await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!((a.balance().await.unwrap(), b.balance().await.unwrap()), (-5, 5));
        runtime.shutdown().await.unwrap();
    }
}

#[test]
fn messages_to_one_receiver_come_in_their_order_and_once() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let wanted: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        for (round, texts) in wanted.chunks(40).enumerate() {
            let author = runtime.get::<Author>("a");
            author.dictate("s", texts[..20].to_vec()).await.unwrap();
            author.dictate("other", texts[..20].to_vec()).await.unwrap();
            author.dictate("s", texts[20..].to_vec()).await.unwrap();
            // Some are on their way.
            match round % 3 {
                0 => runtime.restart().await.unwrap(),
                1 => runtime.crash().await.unwrap(),
                _ => drop(runtime.evict_all().await.unwrap()),
            }
        }
        runtime.settle().await.unwrap();
        assert_eq!(runtime.get::<Scribe>("s").lines().await.unwrap(), wanted);
        assert_eq!(runtime.get::<Scribe>("other").lines().await.unwrap().len(), 100);
    });
}

#[test]
fn what_is_undone_was_never_sent_and_reading_sends_nothing() {
    on_one_thread(async {
        let (runtime, _) = start().await;
        runtime.get::<Account>("a").transfer_and_fail("b").await.unwrap_err();
        let refused = runtime.get::<Author>("a").send_while_reading().await.unwrap_err();
        assert_eq!(Error::from(refused).kind(), ErrorKind::ReadOnly);
        runtime.settle().await.unwrap();
        assert_eq!(runtime.get::<Account>("b").balance().await.unwrap(), 0);
        let b = runtime.namespace::<Account>().id_from_name("b").unwrap();
        assert!(!runtime.namespace::<Account>().exists(&b).unwrap());
    });
}

#[test]
fn what_its_method_refuses_is_undone_and_kept_and_the_next_one_goes() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let author = runtime.get::<Author>("a");
        let long = "more than twenty letters";
        author.dictate("s", texts(&["one", long, "two", "panic", "three"])).await.unwrap();
        runtime.settle().await.unwrap();
        let scribe = runtime.get::<Scribe>("s");
        assert_eq!(scribe.lines().await.unwrap(), ["one", "two", "three"]);
        let kept = [
            "Scribe s write: TooLong { letters: 24 }".to_owned(),
            "Scribe s write: it panicked: no ink".to_owned(),
        ];
        assert_eq!(author.dead_letters().await.unwrap(), kept);

        runtime.crash().await.unwrap();
        let author = runtime.get::<Author>("a");
        assert_eq!(author.dead_letters().await.unwrap(), kept);
        assert!(author.resend().await.unwrap());
        runtime.settle().await.unwrap();
        // It is refused anew, behind the other.
        assert_eq!(author.dead_letters().await.unwrap(), [kept[1].clone(), kept[0].clone()]);
        assert!(author.forget().await.unwrap() && author.forget().await.unwrap());
        assert!(!author.forget().await.unwrap() && !author.resend().await.unwrap());
        assert!(author.dead_letters().await.unwrap().is_empty());
    });
}

#[test]
fn a_message_for_later_comes_then_and_waits_over_a_crash() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let author = runtime.get::<Author>("a");
        author.dictate_at("s", 2 * HOUR, "late".into()).await.unwrap();
        author.dictate_at("s", HOUR, "soon".into()).await.unwrap();
        author.dictate("s", texts(&["now"])).await.unwrap();
        runtime.advance(HOUR - Duration::from_millis(1)).await.unwrap();
        assert_eq!(runtime.get::<Scribe>("s").lines().await.unwrap(), ["now"]);
        runtime.crash().await.unwrap();
        runtime.advance(Duration::from_millis(1)).await.unwrap();
        assert_eq!(runtime.get::<Scribe>("s").lines().await.unwrap(), ["now", "soon"]);
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Scribe>("s").lines().await.unwrap(), ["now", "soon", "late"]);
    });
}

#[test]
fn a_receiver_that_cannot_be_activated_is_tried_again_and_nothing_overtakes() {
    on_one_thread(async {
        let (mut runtime, world) = start().await;
        world.shy.store(3, Ordering::SeqCst);
        let author = runtime.get::<Author>("a");
        author.greet("hello".into()).await.unwrap();
        runtime.settle().await.unwrap();
        author.greet("again".into()).await.unwrap();
        runtime.restart().await.unwrap();
        assert_eq!(world.shy.load(Ordering::SeqCst), 2, "it is left alone for a while");
        runtime.advance(Duration::from_secs(10)).await.unwrap();
        assert_eq!(runtime.get::<Shy>("s").heard().await.unwrap(), ["hello", "again"]);
    });
}

#[test]
fn who_cannot_be_reached_for_a_week_is_given_up_message_by_message() {
    on_one_thread(async {
        let (runtime, world) = start().await;
        world.shy.store(usize::MAX, Ordering::SeqCst);
        let author = runtime.get::<Author>("a");
        author.greet("hello".into()).await.unwrap();
        author.greet("again".into()).await.unwrap();
        runtime.advance(7 * 24 * HOUR - HOUR).await.unwrap();
        assert!(author.dead_letters().await.unwrap().is_empty());
        runtime.advance(2 * HOUR).await.unwrap();
        let kept = author.dead_letters().await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].starts_with("Shy s hear: ") && kept[0].contains("not today"), "{kept:?}");
        world.shy.store(0, Ordering::SeqCst);
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Shy>("s").heard().await.unwrap(), ["again"]);
    });
}

#[test]
fn what_was_given_up_is_listed_over_restarts_and_can_be_tried_again() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let (panics, names) = (texts(&["panic"]), ["a", "b", "c"]);
        for name in names {
            runtime.get::<Author>(name).dictate("s", panics.clone()).await.unwrap();
        }
        runtime.settle().await.unwrap();
        let mut ids: Vec<_> =
            names.map(|name| runtime.namespace::<Author>().id_from_name(name).unwrap()).to_vec();
        ids.sort_by_key(ToString::to_string);
        for _ in 0..2 {
            assert_eq!(runtime.namespace::<Author>().given_up().unwrap(), ids);
            assert!(runtime.namespace::<Scribe>().given_up().unwrap().is_empty());
            runtime.restart().await.unwrap();
        }
        let authors = runtime.namespace::<Author>();
        assert_eq!(authors.retry(&ids[0]).await.unwrap(), 1);
        runtime.settle().await.unwrap();
        assert_eq!(authors.given_up().unwrap(), ids, "it has panicked again");
        runtime.get::<Author>("a").forget().await.unwrap();
        assert_eq!(authors.given_up().unwrap().len(), 2);
    });
}

#[test]
fn a_message_that_resets_its_receiver_each_time_is_given_up() {
    on_one_thread(async {
        let (runtime, _) = start().await;
        let author = runtime.get::<Author>("a");
        author.dictate("s", texts(&["abort", "fine"])).await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Scribe>("s").lines().await.unwrap(), ["fine"]);
        let kept = author.dead_letters().await.unwrap();
        assert!(kept.len() == 1 && kept[0].contains("the table fell over"), "{kept:?}");
    });
}

#[test]
fn deleting_everything_takes_back_what_was_not_sent() {
    on_one_thread(async {
        let (runtime, world) = start().await;
        let a = runtime.get::<Account>("a");
        // Many receivers, so that some are still waiting, and the same numbers come again in a new epoch.
        for round in 0..3 {
            for to in ["b", "c"] {
                a.transfer(to, 1).await.unwrap();
                runtime.settle().await.unwrap();
            }
            assert_eq!(a.balance().await.unwrap(), -2, "{round}");
            a.close().await.unwrap();
        }
        for to in ["b", "c"] {
            assert_eq!(runtime.get::<Account>(to).balance().await.unwrap(), 3);
        }
        let author = runtime.get::<Author>("a");
        world.shy.store(1, Ordering::SeqCst);
        author.greet("unheard".into()).await.unwrap();
        runtime.settle().await.unwrap();
        runtime.run_in_object(&author, |_, ctx| ctx.delete_all()).await.unwrap();
        author.greet("heard".into()).await.unwrap();
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(runtime.get::<Shy>("s").heard().await.unwrap(), ["heard"]);
    });
}

#[test]
fn a_cycle_of_objects_passes_on_what_they_get() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let ring = texts(&["a", "b", "c"]);
        let first = runtime.get::<Account>("a");
        first.pass_on(ring.clone(), 299, 7).await.unwrap();
        // Alone in its ring: an object sends to itself.
        runtime.get::<Account>("self").pass_on(texts(&["self"]), 50, 3).await.unwrap();
        runtime.restart().await.unwrap();
        runtime.settle().await.unwrap();
        assert_eq!(total(&runtime, &ring).await, 7);
        assert_eq!(runtime.get::<Account>("c").balance().await.unwrap(), 7, "299 hops from a");
        assert_eq!(runtime.get::<Account>("self").balance().await.unwrap(), 3);
    });
}

#[test]
fn no_money_is_lost_or_made_whatever_happens_on_the_way() {
    on_one_thread(async {
        let (mut runtime, _) = start().await;
        let names: Vec<String> = (0..6).map(|number| format!("account {number}")).collect();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % 1_000_003).unwrap() % limit
        };
        for _ in 0..150 {
            for _ in 0..next(8) {
                let (from, to) = (next(names.len()), next(names.len()));
                let amount = i64::try_from(next(100)).unwrap();
                let call = runtime.get::<Account>(&names[from]).transfer(&names[to], amount);
                call.await.unwrap();
            }
            match next(5) {
                0 => runtime.crash().await.unwrap(),
                1 => runtime.restart().await.unwrap(),
                2 => drop(runtime.evict_all().await.unwrap()),
                _ => runtime.settle().await.unwrap(),
            }
        }
        runtime.advance(HOUR).await.unwrap();
        assert_eq!(total(&runtime, &names).await, 0);
    });
}

#[test]
fn more_letters_than_a_turn_can_hold_are_sent_again() {
    on_one_thread(async {
        let (runtime, _) = start().await;
        let author = runtime.get::<Author>("a");
        // Refused for their length, and together over the 64 MiB that a turn may change.
        for _ in 0..18 {
            author.dictate("s", vec!["x".repeat(4_000_000)]).await.unwrap();
            runtime.settle().await.unwrap();
        }
        assert_eq!(author.dead_letters().await.unwrap().len(), 18);
        let id = runtime.namespace::<Author>().id_from_name("a").unwrap();
        assert_eq!(runtime.namespace::<Author>().retry(&id).await.unwrap(), 18);
        runtime.settle().await.unwrap();
        assert_eq!(author.dead_letters().await.unwrap().len(), 18, "refused once more");
    });
}
