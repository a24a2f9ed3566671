//! Deleting objects from outside.

use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{Body, CallError, ErrorKind, ObjectId};
use durable_tests::{matrix, on_one_thread};
use proptest::prelude::*;

/// A log whose lines are numbered, in two tables that agree.
struct Log {
    appended: u32,
}

#[durable_object]
impl Log {
    #[migration(1)]
    fn create(db: &mut Migration) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE lines (number INTEGER) STRICT; CREATE TABLE total (lines INTEGER) STRICT",
        )?;
        db.execute_batch("INSERT INTO total VALUES (0)")
    }

    fn new(ctx: &Context) -> Result<Self> {
        Ok(Log { appended: ctx.sql().query_one("SELECT count(*) FROM lines", [])? })
    }

    /// The number of the new line. The field, the rows and the total agree, or the object is a mixture of two.
    pub fn append(&mut self, ctx: &Context) -> Result<u32> {
        ctx.sql().execute("UPDATE total SET lines = lines + 1", [])?;
        let number: u32 = ctx.sql().query_one("SELECT lines FROM total", [])?;
        ctx.sql().execute("INSERT INTO lines VALUES (?)", [number])?;
        let lines: u32 = ctx.sql().query_one("SELECT count(*) FROM lines", [])?;
        self.appended += 1;
        assert_eq!((number, number), (lines, self.appended));
        Ok(number)
    }

    pub fn lines(&self, ctx: &Context) -> Result<u32> {
        ctx.sql().query_one("SELECT count(*) FROM lines", [])
    }

    pub fn remind(&mut self, ctx: &Context, wait: Duration) -> Result<()> {
        ctx.set_alarm(After(wait))
    }

    pub fn keep_closed(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.block_concurrency_while(|gate| async move {
            std::future::pending::<()>().await;
            gate.turn(|_, _| Ok::<_, durable::Error>(())).await
        });
        Ok(())
    }

    fn alarm(&mut self, ctx: &Context<Self>, _: AlarmInfo) -> Result<()> {
        self.append(ctx).map(|_| ())
    }

    async fn fetch(this: Handle<Self>, _: Request) -> Result<Response> {
        this.turn(|log, ctx| log.append(ctx)).await?;
        std::future::pending::<()>().await;
        Ok(Response::new(Body::empty()))
    }
}

/// Cannot be activated.
struct Broken;

#[durable_object(name = "Log")]
impl Broken {
    fn new(_: &Context) -> Result<Self> {
        Err(durable::Error::other("out of order"))
    }

    pub fn hello(&self) {}
}

fn id(logs: &Namespace<Log>) -> ObjectId<Log> {
    logs.id_from_name("a").unwrap()
}

matrix! {
    async fn all_that_was_stored_is_gone_and_the_object_starts_over(bed) {
        let runtime = bed.builder().register::<Log>().start().await.unwrap();
        let logs = runtime.namespace::<Log>();
        let log = logs.get_by_name("a");
        let other = logs.get_by_name("b");
        other.append().await.unwrap();
        assert!(!logs.delete(&id(&logs)).await.unwrap(), "there is nothing yet");
        for is_resident in [true, false] {
            assert_eq!(log.append().await.unwrap(), 1);
            assert_eq!(log.append().await.unwrap(), 2);
            log.remind(Duration::from_hours(1)).await.unwrap();
            if !is_resident {
                assert!(logs.evict(&id(&logs)).unwrap());
            }
            assert!(logs.delete(&id(&logs)).await.unwrap());
            assert!(!logs.exists(&id(&logs)).unwrap());
            assert!(logs.info(&id(&logs)).await.unwrap().is_none());
            assert_eq!(log.lines().await.unwrap(), 0);
            assert!(!logs.delete(&id(&logs)).await.unwrap());
        }
        assert_eq!(log.append().await.unwrap(), 1);
        assert!(logs.delete(&id(&logs)).await.unwrap());
        runtime.shutdown().await.unwrap();
        let runtime = bed.builder().register::<Log>().start().await.unwrap();
        let logs = runtime.namespace::<Log>();
        assert!(!logs.exists(&id(&logs)).unwrap());
        assert_eq!(logs.get_by_name("b").lines().await.unwrap(), 1);
        runtime.shutdown().await.unwrap();
        assert_eq!(logs.delete(&id(&logs)).await.unwrap_err().kind(), ErrorKind::ShutDown);
    }
}

#[test]
fn its_alarm_goes_too() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Log>()).await.unwrap();
        let logs = runtime.namespace::<Log>();
        logs.get_by_name("a").remind(Duration::from_hours(1)).await.unwrap();
        assert!(logs.delete(&id(&logs)).await.unwrap());
        runtime.advance(Duration::from_hours(2)).await.unwrap();
        assert!(!logs.exists(&id(&logs)).unwrap());
    });
}

#[test]
fn handlers_end_and_calls_that_wait_are_told() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Log>()).await.unwrap();
        let logs = runtime.namespace::<Log>();
        let log = logs.get_by_name("a");
        let handler = tokio::spawn(log.fetch(http::Request::new(Body::empty())));
        while log.lines().await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(logs.delete(&id(&logs)).await.unwrap());
        match handler.await.unwrap().unwrap_err() {
            CallError::Reset { reason, started: true } => {
                assert_eq!(reason, "the object was deleted")
            }
            other => panic!("{other}"),
        }
        assert_eq!(log.append().await.unwrap(), 1);
    });
}

#[test]
fn one_that_cannot_be_activated_can_be_deleted() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let runtime = Runtime::builder(data.path()).register::<Log>().start().await.unwrap();
        runtime.get::<Log>("a").append().await.unwrap();
        runtime.shutdown().await.unwrap();
        let runtime = Runtime::builder(data.path()).register::<Broken>().start().await.unwrap();
        let broken = runtime.namespace::<Broken>();
        let id = broken.id_from_name("a").unwrap();
        broken.get(&id).hello().await.unwrap_err();
        assert!(broken.exists(&id).unwrap());
        assert!(broken.delete(&id).await.unwrap());
        assert!(!broken.exists(&id).unwrap());
        runtime.shutdown().await.unwrap();
    });
}

#[test]
fn its_sockets_are_closed_with_a_code() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Door>()).await.unwrap();
        let doors = runtime.namespace::<Door>();
        let door = doors.get_by_name("a");
        let socket = runtime.connect(&door, http::Request::new(Body::empty())).await.unwrap();
        let id = doors.id_from_name("a").unwrap();
        assert!(doors.delete(&id).await.unwrap());
        let close = socket.closed().await.unwrap();
        assert!(close.code == 1001, "{close:?}");
        drop(socket);
        runtime.settle().await.unwrap();
        assert!(!doors.exists(&id).unwrap(), "no close event has come to a new object");
    });
}

#[derive(Default)]
struct Door;

#[durable_object]
impl Door {
    fn fetch(&mut self, ctx: &Context<Self>, mut request: Request) -> Result<Response> {
        ctx.kv().put("opened", &true)?;
        Ok(ctx.accept_websocket(&mut request, ["guest"])?.1)
    }

    fn websocket_close(
        &mut self,
        ctx: &Context<Self>,
        _: WebSocket,
        _: durable::Close,
    ) -> Result<()> {
        ctx.kv().put("closed", &true)
    }
}

/// What is done at the same time.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    Delete,
    Evict,
    Yield,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Each call finds a whole object: lines are numbered from 1 without gaps between two deletions, and a deletion that found
    /// something has ended such a row.
    #[test]
    fn a_call_sees_the_object_before_or_a_new_one(
        steps in prop::collection::vec(
            prop_oneof![4 => Just(Step::Append), 2 => Just(Step::Delete), 1 => Just(Step::Evict), 2 => Just(Step::Yield)],
            1..40,
        ),
        is_threaded in any::<bool>(),
    ) {
        let mut executor = if is_threaded {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        let executor = executor.enable_all().build().unwrap();
        executor.block_on(async move {
            let data = tempfile::tempdir().unwrap();
            let runtime = Runtime::builder(data.path()).register::<Log>().start().await.unwrap();
            let logs = runtime.namespace::<Log>();
            let (mut appends, mut deletions) = (Vec::new(), Vec::new());
            for step in steps {
                let logs = logs.clone();
                match step {
                    Step::Append => appends.push(tokio::spawn(logs.get_by_name("a").append())),
                    Step::Delete => deletions.push(tokio::spawn(async move { logs.delete(&id(&logs)).await })),
                    Step::Evict => drop(logs.evict(&id(&logs)).unwrap()),
                    Step::Yield => tokio::task::yield_now().await,
                }
            }
            let mut numbers = Vec::new();
            for append in appends {
                match append.await.unwrap() {
                    Ok(number) => numbers.push(number),
                    Err(CallError::Reset { started: false, .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let mut found = 0;
            for deletion in deletions {
                match deletion.await.unwrap() {
                    Ok(existed) => found += u32::from(existed),
                    // Another deletion came first.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Reset),
                }
            }
            let left = logs.get_by_name("a").lines().await.unwrap();
            // As many rows have begun as were ended, and perhaps one that goes on.
            let begun = numbers.iter().filter(|number| **number == 1).count();
            assert_eq!(begun, found as usize + usize::from(left > 0));
            for number in numbers.iter().copied() {
                let same = numbers.iter().filter(|other| **other == number).count();
                let before = numbers.iter().filter(|other| **other + 1 == number).count();
                assert!(number == 1 || same <= before, "{numbers:?}");
            }
            assert_eq!(logs.exists(&id(&logs)).unwrap(), left > 0);
            runtime.shutdown().await.unwrap();
        });
    }
}
