use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self, _text: impl Into<String>) {}
    pub fn each(&mut self, _action: Box<dyn Fn(u8)>) {}
}

fn main() {}
