use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Iterator for Room {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        None
    }
}

fn main() {}
