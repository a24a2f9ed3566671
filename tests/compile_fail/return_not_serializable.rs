use durable::prelude::*;

pub struct Note;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn last(&self) -> Note {
        Note
    }
}

fn main() {}
