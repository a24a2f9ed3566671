use durable::Runtime;

pub struct Room;

fn main() {
    let _ = Runtime::builder("data").register::<Room>();
}
