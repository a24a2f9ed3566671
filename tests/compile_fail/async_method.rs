use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub async fn post(&mut self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
