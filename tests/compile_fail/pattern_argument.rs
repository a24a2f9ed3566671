use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn put(&mut self, (_key, _value): (String, u8)) {}
}

fn main() {}
