use durable::prelude::*;

type Outcome = std::result::Result<u8, String>;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn last(&self) -> Outcome {
        Ok(1)
    }
}

fn main() {}
