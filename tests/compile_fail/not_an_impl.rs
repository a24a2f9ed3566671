use durable::prelude::*;

#[durable_object]
pub struct Room;

fn main() {}
