use durable::prelude::*;

pub struct Cache<T>(T);

#[durable_object]
impl<T> Cache<T> {
    pub fn clear(&mut self) {}
}

fn main() {}
