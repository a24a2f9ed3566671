use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn rate(&self) -> u8 {
        std::future::ready(1).await
    }
}

fn main() {}
