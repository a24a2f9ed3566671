use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    #[migration(2)]
    fn extend(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE a (b)")
    }

    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE a (b)")
    }
}

fn main() {}
