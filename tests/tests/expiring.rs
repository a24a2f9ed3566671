//! Objects that delete themselves when nobody uses them.

use std::time::Duration;

use durable::Body;
use durable::prelude::*;
use durable::testing::TestRuntime;
use durable_tests::on_one_thread;

const DAY: Duration = Duration::from_hours(24);

/// Expires.
#[derive(Default)]
struct Session;

#[durable_object(expires_after = "30d")]
impl Session {
    pub fn put(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("user", &"ada")
    }

    pub fn user(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get("user")
    }

    pub fn forget(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    pub fn start_over(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()?;
        ctx.kv().put("user", &"bob")
    }

    pub fn fail(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("user", &"eve")?;
        Err(durable::Error::other("undone"))
    }

    pub fn remind(&mut self, ctx: &Context, wait: Duration) -> Result<()> {
        ctx.set_alarm(After(wait))
    }

    fn alarm(&mut self, _: &Context<Self>, _: AlarmInfo) -> Result<()> {
        Ok(())
    }

    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        Ok(ctx.accept_websocket(&mut request, ["page"])?.1)
    }
}

/// The same stored class in a program that keeps its objects.
#[derive(Default)]
struct Kept;

#[durable_object(name = "Session")]
impl Kept {
    pub fn user(&self, ctx: &Context) -> Result<Option<String>> {
        ctx.kv().get("user")
    }
}

async fn start() -> TestRuntime {
    TestRuntime::start(|builder| builder.register::<Session>()).await.unwrap()
}

fn exists(runtime: &TestRuntime) -> bool {
    let sessions = runtime.namespace::<Session>();
    sessions.exists(&sessions.id_from_name("a").unwrap()).unwrap()
}

#[test]
fn the_time_is_in_the_description_of_the_class() {
    assert_eq!(Session::EXPIRES_AFTER, Some(30 * DAY));
    assert_eq!(Kept::EXPIRES_AFTER, None);
}

#[test]
fn an_object_goes_when_nobody_has_used_it() {
    on_one_thread(async {
        let mut runtime = start().await;
        runtime.get::<Session>("a").put().await.unwrap();
        runtime.advance(30 * DAY).await.unwrap();
        assert!(exists(&runtime));
        runtime.restart().await.unwrap();
        runtime.advance(DAY).await.unwrap();
        assert!(!exists(&runtime));
        let sessions = runtime.namespace::<Session>();
        assert!(sessions.list().page().await.unwrap().objects.is_empty());
        // One that comes later starts over, and expires in its turn.
        let session = runtime.get::<Session>("a");
        assert_eq!(session.user().await.unwrap(), None);
        assert!(!exists(&runtime), "a read creates nothing");
        session.put().await.unwrap();
        runtime.advance(29 * DAY).await.unwrap();
        assert!(exists(&runtime));
        runtime.advance(3 * DAY).await.unwrap();
        assert!(!exists(&runtime));
    });
}

#[test]
fn every_use_counts_wherever_it_happens() {
    on_one_thread(async {
        let mut runtime = start().await;
        runtime.get::<Session>("a").put().await.unwrap();
        for round in 0..12 {
            runtime.advance(20 * DAY).await.unwrap();
            assert!(exists(&runtime), "round {round}");
            let session = runtime.get::<Session>("a");
            match round % 3 {
                0 => assert_eq!(session.user().await.unwrap().as_deref(), Some("ada")),
                1 => drop(session.fail().await.unwrap_err()),
                _ => session.put().await.unwrap(),
            }
            if round % 4 == 3 {
                runtime.crash().await.unwrap();
            }
        }
        runtime.advance(29 * DAY).await.unwrap();
        assert!(exists(&runtime));
        runtime.advance(2 * DAY).await.unwrap();
        assert!(!exists(&runtime));
    });
}

#[test]
fn an_object_that_was_emptied_expires_as_a_new_one() {
    on_one_thread(async {
        let runtime = start().await;
        let session = runtime.get::<Session>("a");
        session.put().await.unwrap();
        runtime.advance(20 * DAY).await.unwrap();
        session.forget().await.unwrap();
        assert!(!exists(&runtime));
        session.put().await.unwrap();
        session.start_over().await.unwrap();
        runtime.advance(29 * DAY).await.unwrap();
        assert!(exists(&runtime));
        runtime.advance(2 * DAY).await.unwrap();
        assert!(!exists(&runtime));
    });
}

#[test]
fn an_object_with_something_ahead_is_in_use() {
    on_one_thread(async {
        let runtime = start().await;
        runtime.get::<Session>("a").remind(100 * DAY).await.unwrap();
        runtime.advance(99 * DAY).await.unwrap();
        assert!(exists(&runtime));
        // Its alarm is a use.
        runtime.advance(2 * DAY).await.unwrap();
        runtime.advance(28 * DAY).await.unwrap();
        assert!(exists(&runtime));
        runtime.advance(32 * DAY).await.unwrap();
        assert!(!exists(&runtime));
    });
}

#[test]
fn an_object_with_an_open_socket_is_in_use() {
    on_one_thread(async {
        let runtime = start().await;
        let session = runtime.get::<Session>("a");
        session.put().await.unwrap();
        let socket = runtime.connect(&session, http::Request::new(Body::empty())).await.unwrap();
        runtime.advance(70 * DAY).await.unwrap();
        assert!(exists(&runtime));
        socket.close(1000, "bye");
        runtime.advance(70 * DAY).await.unwrap();
        assert!(!exists(&runtime));
    });
}

#[test]
fn a_class_that_no_longer_expires_keeps_its_objects() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let runtime = Runtime::builder(data.path()).register::<Session>().start().await.unwrap();
        runtime.get::<Session>("a").put().await.unwrap();
        runtime.shutdown().await.unwrap();
        let clock = || std::time::SystemTime::now() + 40 * DAY;
        let runtime = Runtime::builder(data.path()).clock(clock).register::<Kept>().start();
        let runtime = runtime.await.unwrap();
        let kept = runtime.namespace::<Kept>();
        let id = kept.id_from_name("a").unwrap();
        while kept.info(&id).await.unwrap().unwrap().next_wake.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(kept.get(&id).user().await.unwrap().as_deref(), Some("ada"));
        runtime.shutdown().await.unwrap();
    });
}
