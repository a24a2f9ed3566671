use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    async fn new(_ctx: &Context<Self>) -> Self {
        Room
    }
}

fn main() {}
