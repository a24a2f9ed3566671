use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn find(&self, _text: Option<&str>) {}
    pub fn all(&self, _texts: &[&str]) {}
    pub fn greet(&self, _text: &'static str) {}
}

fn main() {}
