use durable::prelude::*;

#[derive(Default)]
pub struct Session;

#[durable_object(expires_after = "1 month")]
impl Session {
    pub fn renew(&mut self) {}
}

fn main() {}
