use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn next_item(&mut self) -> Self::Item {
        1
    }
}

fn main() {}
