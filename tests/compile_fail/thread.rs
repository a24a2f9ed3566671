use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self) {
        std::thread::spawn(|| {});
    }
}

fn main() {}
