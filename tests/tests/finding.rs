//! Finding objects without waking them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::prelude::*;
use durable::testing::TestRuntime;
use durable::{ErrorKind, Jurisdiction, LocationHint, ObjectInfo};
use durable_tests::on_one_thread;

/// How often a room was made ready.
type Activations = Arc<AtomicUsize>;

struct Room;

#[durable_object]
impl Room {
    fn new(ctx: &Context) -> Self {
        if let Ok(activations) = ctx.env::<Activations>() {
            activations.fetch_add(1, Ordering::Relaxed);
        }
        Room
    }

    #[migration(1)]
    fn create(db: &mut Migration) -> Result<()> {
        db.execute_batch("CREATE TABLE notes (text TEXT) STRICT")
    }

    #[migration(2)]
    fn add_author(db: &mut Migration) -> Result<()> {
        db.execute_batch("ALTER TABLE notes ADD COLUMN author TEXT")
    }

    pub fn note(&mut self, ctx: &Context, text: &str) -> Result<()> {
        ctx.sql().execute("INSERT INTO notes (text) VALUES (?)", [text]).map(|_| ())
    }

    pub fn count(&self, ctx: &Context) -> Result<u32> {
        ctx.sql().query_one("SELECT count(*) FROM notes", [])
    }

    pub fn clear(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    pub fn wake_in(&mut self, ctx: &Context, wait: Duration) -> Result<()> {
        ctx.set_alarm(After(wait))
    }

    fn alarm(&mut self, _: &Context<Self>, _: AlarmInfo) -> Result<()> {
        Ok(())
    }
}

/// Never registered.
#[derive(Default)]
struct Stranger;

#[durable_object]
impl Stranger {
    pub fn hello(&self) {}
}

async fn all(rooms: &Namespace<Room>, prefix: Option<&str>, limit: usize) -> Vec<ObjectInfo<Room>> {
    let (mut objects, mut after) = (Vec::new(), None);
    loop {
        let mut list = rooms.list().limit(limit).after(after);
        if let Some(prefix) = prefix {
            list = list.prefix(prefix);
        }
        let page = list.page().await.unwrap();
        assert!(page.objects.len() == limit || page.next.is_none());
        objects.extend(page.objects);
        after = page.next;
        if after.is_none() {
            return objects;
        }
    }
}

fn names(objects: &[ObjectInfo<Room>]) -> Vec<&str> {
    objects.iter().filter_map(|object| object.id.name()).collect()
}

#[test]
fn objects_are_found_by_id_and_by_name_and_nobody_wakes() {
    on_one_thread(async {
        let counter = Activations::default();
        let env = Arc::clone(&counter);
        let start = TestRuntime::start(move |builder| builder.register::<Room>().env(env.clone()));
        let runtime = start.await.unwrap();
        let rooms = runtime.namespace::<Room>();
        assert!(all(&rooms, None, 2).await.is_empty());
        for name in ["b", "a/1", "a/2", "a/10", "ä"] {
            rooms.get_by_name(name).note("hello").await.unwrap();
        }
        let nameless = rooms.unique_id().unwrap();
        rooms.get(&nameless).note("hello").await.unwrap();
        rooms.get_by_name("read only").count().await.unwrap();
        runtime.evict_all().await.unwrap();
        let activations = counter.load(Ordering::Relaxed);
        for limit in [1, 2, 3, 6, 7] {
            let by_id = all(&rooms, None, limit).await;
            assert!(by_id.is_sorted_by_key(|object| object.id.clone()));
            assert_eq!(by_id.len(), 6);
            assert!(by_id.iter().any(|object| object.id == nameless));
            assert_eq!(names(&all(&rooms, Some("a/"), limit).await), ["a/1", "a/10", "a/2"]);
            let named = all(&rooms, Some(""), limit).await;
            assert_eq!(names(&named), ["a/1", "a/10", "a/2", "b", "ä"]);
        }
        assert!(all(&rooms, Some("c"), 10).await.is_empty());
        rooms.get_by_name("a/10").clear().await.unwrap();
        assert_eq!(names(&all(&rooms, Some("a/"), 1).await), ["a/1", "a/2"]);
        assert_eq!(counter.load(Ordering::Relaxed), activations + 1, "the one that was cleared");
    });
}

#[test]
fn what_is_known_of_an_object() {
    on_one_thread(async {
        let mut runtime = TestRuntime::start(|builder| builder.register::<Room>()).await.unwrap();
        let start = runtime.now();
        let rooms = runtime.namespace::<Room>().with_location_hint(LocationHint::Weur);
        let id = rooms.id_from_name("a").unwrap();
        assert!(rooms.info(&id).await.unwrap().is_none());
        rooms.get(&id).note("hello").await.unwrap();
        let fresh = rooms.info(&id).await.unwrap().unwrap();
        assert_eq!((fresh.created, fresh.last_written), (Some(start), Some(start)));
        assert_eq!((fresh.schema_version, fresh.next_wake), (2, None));
        assert_eq!(fresh.location_hint, Some(LocationHint::Weur));
        assert!(fresh.size > 0 && fresh.size % 4_096 == 0);

        runtime.advance(Duration::from_hours(1)).await.unwrap();
        rooms.get(&id).note(&"long ".repeat(10_000)).await.unwrap();
        rooms.get(&id).wake_in(Duration::from_hours(30)).await.unwrap();
        runtime.advance(Duration::from_hours(1)).await.unwrap();
        rooms.get(&id).count().await.unwrap();
        for _ in 0..3 {
            let rooms = runtime.namespace::<Room>();
            let info = rooms.info(&id).await.unwrap().unwrap();
            assert_eq!(info.id.name(), Some("a"));
            assert_eq!(info.created, Some(start));
            assert_eq!(info.last_written, Some(start + Duration::from_hours(1)));
            let active = info.last_active.unwrap();
            assert!(active >= start + Duration::from_hours(2), "a read is a use");
            assert!(active < start + Duration::from_hours(2) + Duration::from_mins(1));
            assert_eq!(info.next_wake, Some(start + Duration::from_hours(31)));
            assert!(info.size > fresh.size);
            let listed = rooms.list().page().await.unwrap().objects;
            assert_eq!(format!("{listed:?}"), format!("{:?}", [info]));
            // In memory, then not, then after a restart.
            runtime.advance(Duration::from_hours(1)).await.unwrap();
            runtime.restart().await.unwrap();
        }
    });
}

#[test]
fn a_namespace_of_a_jurisdiction_lists_its_own() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Room>()).await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let eu = rooms.jurisdiction(Jurisdiction::Eu);
        let us = rooms.jurisdiction(Jurisdiction::Us);
        for name in ["a", "b", "c"] {
            rooms.get_by_name(name).note("everywhere").await.unwrap();
            us.get_by_name(name).note("there").await.unwrap();
        }
        eu.get_by_name("a").note("here").await.unwrap();
        assert_eq!(all(&rooms, Some("a"), 1).await.len(), 3, "one name, three objects");
        assert_eq!(all(&rooms, None, 2).await.len(), 7);
        assert_eq!(names(&all(&us, None, 1).await).len(), 3);
        assert_eq!(names(&all(&us, Some(""), 2).await), ["a", "b", "c"]);
        assert_eq!(names(&all(&eu, Some(""), 2).await), ["a"]);
    });
}

#[test]
fn what_cannot_be_listed_says_why() {
    on_one_thread(async {
        let runtime = TestRuntime::start(|builder| builder.register::<Room>()).await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let id = rooms.id_from_name("a").unwrap().to_string();
        for (prefix, after) in [(None, "nonsense"), (None, ""), (Some(""), &*id), (Some(""), "x:a")]
        {
            let mut list = rooms.list().after(after.to_owned());
            if let Some(prefix) = prefix {
                list = list.prefix(prefix);
            }
            let error = list.page().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("`next`"), "{error}");
        }
        let error = runtime.namespace::<Stranger>().list().page().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        runtime.shutdown().await.unwrap();
        assert_eq!(rooms.list().page().await.unwrap_err().kind(), ErrorKind::ShutDown);
    });
}

/// A few thousand objects, or as many as `DURABLE_TEST_OBJECTS` says.
#[test]
fn many_objects_are_all_found_while_others_come_and_go() {
    let objects = std::env::var("DURABLE_TEST_OBJECTS").map_or(2_000, |text| text.parse().unwrap());
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    executor.block_on(async {
        let data = tempfile::tempdir().unwrap();
        let builder = || {
            let builder = Runtime::builder(data.path()).checkpoint_distance(1_024 * 1_024);
            builder.resident_limit(200).register::<Room>()
        };
        let runtime = builder().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        for batch in (0..objects).collect::<Vec<_>>().chunks(100) {
            let notes =
                batch.iter().map(|number| rooms.get_by_name(&format!("room {number}")).note("x"));
            let notes: Vec<_> = notes.map(tokio::spawn).collect();
            for note in notes {
                note.await.unwrap().unwrap();
            }
        }
        let coming = rooms.clone();
        let others = tokio::spawn(async move {
            for number in 0.. {
                let visitor = coming.get_by_name(&format!("visitor {}", number % 50));
                if number % 3 == 2 {
                    visitor.clear().await.unwrap()
                } else {
                    visitor.note("y").await.unwrap()
                }
            }
        });
        for prefix in [None, Some("")] {
            let found = all(&rooms, prefix, 97).await;
            let ids: BTreeSet<_> = found.iter().map(|object| object.id.clone()).collect();
            assert_eq!(ids.len(), found.len(), "nobody is found twice");
            let residents = names(&found).into_iter().filter(|name| name.starts_with("room "));
            assert_eq!(residents.collect::<BTreeSet<_>>().len(), objects);
        }
        others.abort();
        let _ = others.await;
        runtime.shutdown().await.unwrap();
        let runtime = builder().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        assert_eq!(all(&rooms, Some("room "), 1_000).await.len(), objects);
        runtime.shutdown().await.unwrap();
    });
}
