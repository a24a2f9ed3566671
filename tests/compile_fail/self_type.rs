use durable::prelude::*;

pub trait Door {}

#[durable_object]
impl dyn Door {
    pub fn open(&mut self) {}
}

fn main() {}
