use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn version() -> u8 {
        1
    }
}

fn main() {}
