use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub async fn fetch(_this: Handle<Self>, _request: Request) -> Result<Response> {
        Err(durable::Error::other("closed"))
    }
}

fn main() {}
