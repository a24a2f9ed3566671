use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn rate(&self) -> Vec<u8> {
        vec![std::future::ready(1).await]
    }
}

fn main() {}
