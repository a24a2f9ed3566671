use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn read(&self, _at: *const u8) {}
    pub fn each(&self, _action: fn(u8) -> u8) {}
}

fn main() {}
