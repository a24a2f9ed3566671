use durable::prelude::*;
use std::rc::Rc;

pub struct Room(Rc<u8>);

#[durable_object]
impl Room {
    fn new(_ctx: &Context) -> Self {
        Room(Rc::new(0))
    }
}

fn main() {}
