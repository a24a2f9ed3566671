use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn last(&self) -> Result<u8, std::io::Error> {
        Ok(1)
    }
}

fn main() {}
