use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn put<T: Send>(&mut self, _value: T) {}
    pub fn find<'a>(&self, _text: &'a str) {}
}

fn main() {}
