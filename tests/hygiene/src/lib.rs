//! Expansions where nothing helps them: no prelude, the crate renamed, names that get in the way,
//! and every lint on.

#![no_implicit_prelude]
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]
#![deny(rust_2018_idioms, unused_qualifications, single_use_lifetimes, trivial_casts)]
#![deny(clippy::all, clippy::pedantic, clippy::unwrap_used)]
// What these find is the program's own, not the expansion's.
#![allow(clippy::missing_errors_doc, clippy::must_use_candidate, clippy::unnecessary_wraps)]

use ::renamed::{Context, Handle, Migration, Request, Response, Result};

// Names that a careless expansion would pick up.
mod names {
    #![allow(dead_code, missing_docs, unreachable_pub, missing_debug_implementations)]
    pub struct String;
    pub struct Vec;
    pub struct Box;
    pub enum Option {
        Some,
        None,
    }
    pub trait Clone {}
    pub trait From {}
}
#[allow(unused_imports)]
use names::*;

/// What every name in the way would be mistaken for.
#[derive(::core::fmt::Debug, ::core::default::Default)]
pub struct Room {
    posts: ::core::primitive::u64,
}

/// A value that crosses.
#[derive(::core::fmt::Debug, ::core::clone::Clone, ::serde::Serialize, ::serde::Deserialize)]
pub struct Note {
    /// What it says.
    pub text: ::std::string::String,
}

#[::renamed::durable_object(name = "room", renamed_from = "Hall", crate = ::renamed)]
impl Room {
    #[migration(1)]
    fn create(_db: &mut Migration<'_>) -> Result<()> {
        ::core::result::Result::Ok(())
    }

    /// Posts a note.
    pub fn post(&mut self, ctx: &Context, note: &Note, output: bool) -> Result<Note> {
        let _ = (ctx.id(), output);
        self.posts += 1;
        ::core::result::Result::Ok(::core::clone::Clone::clone(note))
    }

    /// How many there are.
    #[must_use]
    pub fn posts(
        &self,
        object: &[::core::primitive::u64],
        r#type: &::core::primitive::str,
    ) -> usize {
        let _ = r#type;
        object.len()
    }

    /// The old name.
    #[deprecated = "use `posts`"]
    pub fn count(&self) -> ::core::primitive::u64 {
        self.posts
    }

    async fn fetch(this: Handle<Self>, _request: Request) -> Result<Response> {
        this.turn(|room, _ctx| {
            room.posts += 1;
            ::core::result::Result::Err(::renamed::Error::other("closed"))
        })
        .await
    }
}

/// What a caller writes.
pub fn call(stub: &RoomStub, note: &Note) -> ::renamed::Call<Room, Note, ::renamed::Error> {
    stub.post(note, true)
}
