//! Classes, ids, names, and where an object is found again.

use durable::prelude::*;
use durable::{ErrorKind, Jurisdiction, LocationHint, ObjectId};
use durable_tests::matrix;

#[derive(Default)]
struct Room;

#[durable_object]
impl Room {
    pub fn put(&mut self, ctx: &Context, value: i64) -> Result<()> {
        ctx.kv().put("value", &value)
    }

    pub fn get(&self, ctx: &Context) -> Result<Option<i64>> {
        ctx.kv().get("value")
    }

    /// Name, class, id and hint as the object itself sees them.
    pub fn whoami(
        &self,
        ctx: &Context<Self>,
    ) -> (Option<String>, String, ObjectId<Room>, Option<String>) {
        let hint = ctx.location_hint().map(|hint| hint.to_string());
        (ctx.name().map(str::to_owned), ctx.class().to_owned(), ctx.id(), hint)
    }
}

mod later {
    //! The class after it was renamed.
    use super::*;

    #[derive(Default)]
    pub(super) struct Chamber;

    #[durable_object(renamed_from = "Room")]
    impl Chamber {
        pub fn get(&self, ctx: &Context) -> Result<Option<i64>> {
            ctx.kv().get("value")
        }
    }
}

mod other {
    use super::*;

    #[derive(Default)]
    pub(super) struct Hall;

    #[durable_object(name = "Room")]
    impl Hall {
        pub fn get(&self, ctx: &Context) -> Result<Option<i64>> {
            ctx.kv().get("value")
        }
    }
}

matrix! {
    async fn a_name_always_gives_the_same_object(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        rooms.get_by_name("lobby").put(1).await.unwrap();
        let id = rooms.id_from_name("lobby").unwrap();
        assert_eq!(id.name(), Some("lobby"));
        assert_eq!(rooms.get(&id).get().await.unwrap(), Some(1));
        let reparsed = rooms.id_from_string(&id.to_string().to_uppercase()).unwrap();
        assert_eq!(reparsed, id);
        assert_eq!(rooms.get(&reparsed).get().await.unwrap(), Some(1));
        assert_eq!(rooms.get_by_name("Lobby").get().await.unwrap(), None, "names are exact");
    }

    async fn an_object_knows_its_name_class_id_and_hint_also_after_a_restart(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>().with_location_hint(LocationHint::Weur);
        let id = rooms.id_from_name("lobby").unwrap();
        rooms.get(&id).put(1).await.unwrap();
        let known = (Some("lobby".to_owned()), "Room".to_owned(), id.clone(), Some("weur".to_owned()));
        assert_eq!(rooms.get(&id).whoami().await.unwrap(), known);
        runtime.shutdown().await.unwrap();

        // Found by its bare id, from a namespace without a hint.
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let bare = rooms.id_from_string(&id.to_string()).unwrap();
        assert_eq!(bare.name(), None);
        assert_eq!(rooms.get(&bare).whoami().await.unwrap(), known);
        runtime.shutdown().await.unwrap();

        // A hint that comes later changes nothing.
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>().with_location_hint(LocationHint::Enam);
        rooms.get(&id).put(2).await.unwrap();
        assert_eq!(rooms.get(&id).whoami().await.unwrap(), known);
    }

    async fn unique_ids_differ_and_have_no_name(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let (one, two) = (rooms.unique_id().unwrap(), rooms.unique_id().unwrap());
        assert_ne!(one, two);
        rooms.get(&one).put(1).await.unwrap();
        assert_eq!(rooms.get(&two).get().await.unwrap(), None);
        assert_eq!(rooms.get(&one).whoami().await.unwrap().0, None);
    }

    async fn a_jurisdiction_is_part_of_the_id(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let eu = rooms.jurisdiction(Jurisdiction::Eu);
        let id = eu.id_from_name("lobby").unwrap();
        assert_eq!(id.jurisdiction(), Some(Jurisdiction::Eu));
        eu.get(&id).put(1).await.unwrap();
        assert_eq!(rooms.get_by_name("lobby").get().await.unwrap(), None, "another object");
        assert_eq!(rooms.get(&id).get().await.unwrap(), Some(1), "found by its id from anywhere");
        let elsewhere = rooms.id_from_name("lobby").unwrap();
        let refused = eu.id_from_string(&elsewhere.to_string()).unwrap_err();
        assert!(refused.message().contains("jurisdiction `eu`"), "{refused}");
        assert_eq!(eu.unique_id().unwrap().jurisdiction(), Some(Jurisdiction::Eu));
    }

    async fn names_and_ids_that_cannot_be_are_refused(bed) {
        let runtime = bed.builder().register::<Room>().register::<later::Chamber>().start().await;
        let refused = runtime.unwrap_err();
        assert!(refused.message().contains("both stored as `Room`"), "{refused}");

        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        for name in [String::new(), "x".repeat(1025)] {
            assert_eq!(rooms.id_from_name(&name).unwrap_err().kind(), ErrorKind::Invalid);
            let refused = rooms.get_by_name(&name).get().await.unwrap_err();
            assert!(matches!(refused, CallError::NotFound(_)), "{refused:?}");
        }
        rooms.get_by_name(&"é".repeat(512)).put(1).await.unwrap();
        let id = rooms.id_from_name("lobby").unwrap().to_string();
        let mistyped = id.replace(&id[40..41], if &id[40..41] == "0" { "1" } else { "0" });
        for text in ["", "lobby", &id[..63], &mistyped] {
            assert_eq!(rooms.id_from_string(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    async fn a_class_that_is_not_registered_is_named(bed) {
        let runtime = bed.builder().start().await.unwrap();
        let refused = runtime.get::<Room>("lobby").get().await.unwrap_err();
        let CallError::NotFound(error) = refused else { panic!("{refused:?}") };
        assert!(error.message().contains(".register::<Room>()"), "{error}");
    }

    async fn two_types_cannot_share_a_class_name(bed) {
        let builder = bed.builder().register::<Room>().register::<other::Hall>();
        let refused = builder.start().await.unwrap_err();
        assert!(refused.message().contains("name = "), "{refused}");
        // Registering one twice is harmless.
        bed.builder().register::<Room>().register::<Room>().start().await.unwrap();
    }

    async fn a_renamed_class_keeps_its_objects(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let id = runtime.namespace::<Room>().id_from_name("lobby").unwrap().to_string();
        runtime.get::<Room>("lobby").put(1).await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<later::Chamber>().start().await.unwrap();
        let chambers = runtime.namespace::<later::Chamber>();
        assert_eq!(chambers.get_by_name("lobby").get().await.unwrap(), Some(1));
        assert_eq!(chambers.id_from_string(&id).unwrap(), chambers.id_from_name("lobby").unwrap());
    }

    async fn an_id_can_be_stored_and_is_checked_when_it_is_used(bed) {
        let runtime = bed.builder().register::<Room>().start().await.unwrap();
        let rooms = runtime.namespace::<Room>();
        let id = rooms.id_from_name("lobby").unwrap();
        let bytes = rmp_serde::to_vec(&id).unwrap();
        let back: ObjectId<Room> = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(back, id);
        let foreign: ObjectId<Room> = rmp_serde::from_slice(&rmp_serde::to_vec(&"0".repeat(64)).unwrap()).unwrap();
        let refused = rooms.get(&foreign).get().await.unwrap_err();
        assert!(matches!(refused, CallError::NotFound(_)), "{refused:?}");
    }
}
