use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn open(&mut self) {}
}

#[durable_object]
impl Room {
    pub fn close(&mut self) {}
}

fn main() {}
