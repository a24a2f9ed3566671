use durable::prelude::*;

pub struct Room {
    visits: u64,
}

#[durable_object]
impl Room {
    pub fn visits(&self) -> u64 {
        self.visits
    }
}

fn main() {}
