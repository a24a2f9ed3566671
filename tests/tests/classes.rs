//! Classes that are stored, and those that are not in the program any more.

use std::path::Path;

use durable::ErrorKind;
use durable::prelude::*;
use durable_tests::collector::Collector;
use durable_tests::on_one_thread;

#[derive(Default)]
struct Room;

#[durable_object]
impl Room {
    pub fn enter(&mut self, ctx: &Context) -> Result<u32> {
        let guests = ctx.kv().get("guests")?.unwrap_or(0) + 1;
        ctx.kv().put("guests", &guests)?;
        Ok(guests)
    }
}

/// The same class under another name.
#[derive(Default)]
struct Hall;

#[durable_object(renamed_from = "Room")]
impl Hall {
    pub fn enter(&mut self, ctx: &Context) -> Result<u32> {
        let guests = ctx.kv().get("guests")?.unwrap_or(0) + 1;
        ctx.kv().put("guests", &guests)?;
        Ok(guests)
    }
}

#[derive(Default)]
struct Lift;

#[durable_object]
impl Lift {
    pub fn call(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("called", &true)
    }
}

async fn start_empty(data: &Path) -> Runtime {
    Runtime::builder(data).start().await.unwrap()
}

/// Three rooms and a lift.
async fn furnish(data: &Path) {
    let builder = Runtime::builder(data).register::<Room>().register::<Lift>();
    let runtime = builder.start().await.unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(runtime.get::<Room>(name).enter().await.unwrap(), 1);
    }
    runtime.get::<Lift>("only").call().await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn names(runtime: &Runtime) -> Vec<(String, bool, u64)> {
    let classes = runtime.classes().await.unwrap().into_iter();
    classes.map(|class| (class.name, class.is_registered, class.objects)).collect()
}

#[test]
fn classes_are_told_with_their_names_and_objects() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        furnish(data.path()).await;
        let runtime = Runtime::builder(data.path()).register::<Hall>().start().await.unwrap();
        let classes = runtime.classes().await.unwrap();
        let [hall, lift] = &classes[..] else { panic!("{classes:?}") };
        assert_eq!((&*hall.name, &*hall.key), ("Hall", "Room"));
        assert_eq!((&*hall.former_names, hall.objects), (&["Room".to_owned()][..], 3));
        assert!(hall.is_registered && !lift.is_registered);
        assert_eq!((&*lift.name, lift.objects), ("Lift", 1));
        runtime.shutdown().await.unwrap();
        assert_eq!(runtime.classes().await.unwrap_err().kind(), ErrorKind::ShutDown);
    });
}

#[test]
fn a_class_with_objects_is_deleted_only_by_force() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        furnish(data.path()).await;
        let runtime = Runtime::builder(data.path()).register::<Lift>().start().await.unwrap();
        let error = runtime.delete_class("Lift", true).await.unwrap_err();
        assert!(error.message().contains("is registered"), "{error}");
        let error = runtime.delete_class("Attic", true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = runtime.delete_class("Room", false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("3 objects"), "{error}");
        assert_eq!(names(&runtime).await.len(), 2, "nothing has changed");
        assert_eq!(runtime.delete_class("Room", true).await.unwrap(), 3);
        assert_eq!(names(&runtime).await, [("Lift".to_owned(), true, 1)]);
        runtime.shutdown().await.unwrap();

        // It does not come back, and its name is free.
        let runtime = start_empty(data.path()).await;
        assert_eq!(names(&runtime).await, [("Lift".to_owned(), false, 1)]);
        runtime.shutdown().await.unwrap();
        assert!(durable::check(data.path()).unwrap().is_sound());
        let runtime = Runtime::builder(data.path()).register::<Room>().start().await.unwrap();
        assert_eq!(runtime.get::<Room>("a").enter().await.unwrap(), 1);
        runtime.shutdown().await.unwrap();
        let runtime = start_empty(data.path()).await;
        assert_eq!(names(&runtime).await[1], ("Room".to_owned(), false, 1));
        runtime.shutdown().await.unwrap();
    });
}

#[test]
fn a_class_that_has_vanished_from_the_program_is_told_of_and_keeps_its_objects() {
    on_one_thread(async {
        let data = tempfile::tempdir().unwrap();
        let told = || {
            let collected = Collector::install().collected();
            let events = collected.events.iter();
            let missing = events.filter(|event| event.text.contains("is not registered"));
            missing.filter(|event| event.fields["class"] == "Cellar").count()
        };
        let builder = || Runtime::builder(data.path()).register::<Lift>();
        let runtime = builder().register::<Cellar>().start().await.unwrap();
        runtime.shutdown().await.unwrap();
        let runtime = builder().start().await.unwrap();
        assert_eq!(told(), 0, "it has no objects");
        runtime.shutdown().await.unwrap();
        let runtime = builder().register::<Cellar>().start().await.unwrap();
        runtime.get::<Cellar>("a").store().await.unwrap();
        runtime.shutdown().await.unwrap();
        let runtime = builder().start().await.unwrap();
        assert_eq!(told(), 1);
        runtime.shutdown().await.unwrap();
        let runtime = builder().register::<Cellar>().start().await.unwrap();
        assert_eq!(runtime.get::<Cellar>("a").store().await.unwrap(), 2);
        assert_eq!(told(), 1);
        runtime.shutdown().await.unwrap();
    });
}

#[derive(Default)]
struct Cellar;

#[durable_object]
impl Cellar {
    pub fn store(&mut self, ctx: &Context) -> Result<u32> {
        let bottles = ctx.kv().get("bottles")?.unwrap_or(0) + 1;
        ctx.kv().put("bottles", &bottles)?;
        Ok(bottles)
    }
}
