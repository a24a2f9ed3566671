#[durable_object]
impl Empty {}
