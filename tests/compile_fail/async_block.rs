use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn rate(&self) {
        let _later = async move { 1 };
    }
}

fn main() {}
