use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self, ctx: &Context) {
        let _ = ctx;
        tokio::task::block_in_place(|| {});
    }
}

fn main() {}
