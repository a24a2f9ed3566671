use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object(colour = "red", name = "")]
impl Room {
    pub fn open(&mut self) {}
}

fn main() {}
