use durable::prelude::*;

pub struct Room;

impl Room {
    #[durable::migration(1)]
    pub fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE a (b)")
    }
}

fn main() {}
