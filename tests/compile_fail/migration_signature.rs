use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    #[migration(1)]
    fn create(db: &mut Migration<'_>, name: &str) -> Result<()> {
        db.execute_batch(name)
    }
}

fn main() {}
