use durable::prelude::*;

pub struct Note;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self, _note: Note) {}
}

fn main() {}
