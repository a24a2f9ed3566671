use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub unsafe fn post(&mut self) {}
}

fn main() {}
