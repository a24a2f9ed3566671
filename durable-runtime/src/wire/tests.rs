use super::*;

/// The shape of a method that takes a number and a text and returns a text.
fn shape() -> &'static MethodShape {
    let types: [fn(&mut shape::Tracer); 4] = [
        shape::Tracer::add::<i64>,
        shape::Tracer::add::<String>,
        shape::Tracer::add::<String>,
        shape::Tracer::add_never,
    ];
    Box::leak(Box::new(MethodShape::new(&["number", "text"], &types)))
}

fn message() -> Vec<u8> {
    let mut out = Encoder::positional(shape());
    out.put(&5_i64).unwrap();
    out.put(&"hi").unwrap();
    out.finish()
}

/// The stored form is a promise: it changes only together with the format byte.
#[test]
fn golden_message() {
    assert_eq!(message(), [1, 10, 2, b'h', b'i']);
    let mut out = Encoder::named();
    out.put(&5_i64).unwrap();
    out.put(&Point { x: 1, y: 2 }).unwrap();
    assert_eq!(out.finish(), [2, 5, 0x82, 0xa1, b'x', 1, 0xa1, b'y', 2]);
}

#[derive(serde::Serialize)]
struct Point {
    x: u8,
    y: u8,
}

/// What a later program makes of the same thing.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct NewPoint {
    #[serde(default)]
    z: u8,
    y: u8,
}

#[test]
fn a_named_value_is_read_by_a_later_type() {
    let mut out = Encoder::named();
    out.put(&Point { x: 1, y: 2 }).unwrap();
    out.put(&"next").unwrap();
    let message = out.finish();
    let mut input = Decoder::new(&message).unwrap();
    assert_eq!(input.take::<NewPoint>(), Ok(NewPoint { z: 0, y: 2 }));
    assert_eq!(input.take::<String>().as_deref(), Ok("next"));
    input.finish().unwrap();
}

#[test]
fn values_come_back_in_order() {
    let message = message();
    let mut input = Decoder::new(&message).unwrap();
    assert_eq!(input.take::<i64>(), Ok(5));
    assert_eq!(input.take::<String>().as_deref(), Ok("hi"));
    input.finish().unwrap();
}

#[test]
fn leftovers_foreign_formats_and_garbage_are_errors() {
    let message = message();
    let mut input = Decoder::new(&message).unwrap();
    input.take::<i64>().unwrap();
    assert_eq!(input.finish().unwrap_err(), WireError::LeftOver(3));
    assert_eq!(Decoder::new(&[]).unwrap_err(), WireError::UnknownFormat(None));
    assert_eq!(Decoder::new(&[9, 0]).unwrap_err(), WireError::UnknownFormat(Some(9)));
    // A length of 2^40 bytes is refused before anything is allocated.
    let huge = [1, 253, 0, 0, 0, 0, 0, 1, 0, 0];
    assert!(Decoder::new(&huge).unwrap().take::<String>().is_err());
}

#[test]
fn a_reply_is_positional_only_where_that_is_agreed() {
    let message = message();
    let reply = |mut input: Decoder<'_>| {
        input.take::<i64>().unwrap();
        input.take::<String>().unwrap();
        let mut reply = input.finish().unwrap().of(Value::Reply);
        reply.put(&"hi").unwrap();
        reply.finish()
    };
    assert_eq!(reply(Decoder::new(&message).unwrap().agreed(shape())), [1, 2, b'h', b'i']);
    assert_eq!(reply(Decoder::new(&message).unwrap()), [2, 0xa2, b'h', b'i']);
    let named = Encoder::named().write(|out| out.put(&5_i64).and_then(|()| out.put(&"hi")));
    let named = named.unwrap().finish();
    assert_eq!(reply(Decoder::new(&named).unwrap().agreed(shape()))[0], 2, "as it was asked");
}
