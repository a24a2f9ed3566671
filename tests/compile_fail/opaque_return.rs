use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn list(&self) -> impl Iterator<Item = u8> {
        [1, 2].into_iter()
    }
}

fn main() {}
