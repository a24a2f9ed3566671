use durable::prelude::*;

#[derive(Default)]
pub struct Room;

#[durable_object]
impl Room {
    pub fn post(&mut self) {
        static POSTS: std::sync::Mutex<u8> = std::sync::Mutex::new(0);
        let _ = POSTS.lock();
    }
}

fn main() {}
