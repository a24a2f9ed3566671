use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self) {}
    pub fn post(&mut self, _text: String) {}
}

fn main() {}
