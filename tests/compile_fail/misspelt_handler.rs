use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    fn on_alarm(&mut self, _ctx: &Context<Self>) -> Result<()> {
        Ok(())
    }
}

fn main() {}
