use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    #[migration(1)]
    fn create(_db: &mut Context) -> Result<()> {
        Ok(())
    }
}

fn main() {}
