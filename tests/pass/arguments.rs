//! What a method may take, and how: references, `self` in its forms, `mut`, no context.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct Note(String);

#[derive(Default, Serialize, Deserialize)]
pub struct Board(Vec<String>);

#[durable_object]
impl Board {
    pub fn pin(&mut self, text: &str, notes: &[Note], note: &Note) -> usize {
        self.0.extend([text.to_owned(), note.0.clone()]);
        notes.len()
    }

    pub fn wipe(self: &mut Self, mut times: u8, r#type: Option<Note>, _unused: ()) -> bool {
        times += 1;
        times > 1 && r#type.is_some()
    }

    // `Self` is the object, also in a stub.
    pub fn merge(&mut self, _ctx: &Context<Self>, other: Self, _more: Vec<Self>) -> Self {
        Board(other.0)
    }

    pub fn open(&self, path: &std::path::Path, _cow: std::borrow::Cow<'static, str>) -> bool {
        path.is_absolute()
    }

    pub fn nothing(&self) {}
}

fn callers(stub: &BoardStub, note: &Note) {
    let text = String::from("here");
    let _: durable::Call<Board, usize, std::convert::Infallible> =
        stub.pin(&text, std::slice::from_ref(note), note);
    let _ = stub.wipe(1, None, ());
    let _ = stub.merge(Board::default(), vec![]);
    let _ = stub.open("/".as_ref(), "a".into());
    let _ = stub.nothing();
}
