use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn id(&self) -> u64 {
        1
    }

    fn check_migrations() {}
}

fn main() {}
