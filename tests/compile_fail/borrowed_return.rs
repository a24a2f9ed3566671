use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn topic(&self) -> &str {
        "rust"
    }
}

fn main() {}
