use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    #[migration(1)]
    fn create(&mut self, db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE a (b)")
    }
}

fn main() {}
