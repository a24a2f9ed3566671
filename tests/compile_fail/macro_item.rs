use durable::prelude::*;

macro_rules! make_methods {
    () => {};
}

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    make_methods!();
}

fn main() {}
