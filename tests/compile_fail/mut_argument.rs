use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn fill(&mut self, _into: &mut Vec<u8>) {}
    pub fn open(&mut self, _ctx: &mut Context) {}
}

fn main() {}
