use durable::prelude::*;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Note(std::marker::PhantomData<*const u8>);

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self, _note: Note) {}
}

fn main() {}
