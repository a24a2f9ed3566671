use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self) {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn main() {}
