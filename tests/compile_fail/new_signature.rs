use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    fn new(_ctx: &Context<Self>, _topic: String) -> Self {
        Room
    }
}

fn main() {}
