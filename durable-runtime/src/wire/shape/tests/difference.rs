//! What is said of two shapes that differ.

use proptest::prelude::*;

use super::super::difference as told;
use super::*;

#[test]
fn a_difference_is_told_where_it_is() {
    for (caller, server, expected) in [
        ("() -> u8", "() -> u8", "both sides describe it alike"),
        (
            "(points: Vec<Point { x: f64 }>) -> ()",
            "(points: Vec<Point { x: f64, z: f64 }>) -> ()",
            "argument `points`: field `z` of `Point` is only on the server's side",
        ),
        ("(a: u8, b: u8) -> ()", "(a: u8) -> ()", "argument `b` is only on the caller's side"),
        ("(a: u8, b: u8) -> ()", "(b: u8, a: u8) -> ()", "the arguments stand in another order"),
        (
            "(a: u32) -> ()",
            "(a: u64) -> ()",
            "argument `a` is `u32` on the caller's side and `u64` on the server's",
        ),
        (
            "() -> u8",
            "() -> Option<u8>",
            "the reply is `u8` on the caller's side and an `Option` on the server's",
        ),
        (
            "() -> A { x: A, y: u8 }",
            "() -> A { x: A, y: String }",
            "the reply: field `y` of `A` is `u8` on the caller's side and `String` on the server's",
        ),
        (
            "() -> () or E { Closed, Sold(u32) }",
            "() -> () or E { Sold(u64), Closed, Lost { since: u8 } }",
            "the error: variant `Lost` of `E` is only on the server's side; the error: element 0 of variant `Sold` of `E` is `u32` on the caller's side and `u64` on the server's",
        ),
        (
            "() -> () or E { A, B }",
            "() -> () or E { B, A }",
            "the error: the variants of `E` stand in another order",
        ),
        ("() -> ()", "() -> () or E { A }", "it can fail only on the server's side"),
        (
            r#"(f: self_describing "Filter") -> ()"#,
            "(f: Filter { x: u8 }) -> ()",
            "argument `f` is `Filter` (self-describing) on the caller's side and `Filter` on the server's",
        ),
        // Written out in another place, because another argument mentions it first.
        (
            "(a: P { x: u8 }, b: P) -> ()",
            "(b: P { x: i8 }) -> ()",
            "argument `a` is only on the caller's side; argument `b`: field `x` of `P` is `u8` on the caller's side and `i8` on the server's",
        ),
        ("() -> (", "() -> u8", "the caller's description of it cannot be read"),
        ("() -> u8", "", "the server's description of it cannot be read"),
    ] {
        assert_eq!(told(caller, server), expected, "{caller} and {server}");
    }
}

#[test]
fn every_text_is_read_and_differs_from_nothing_but_others() {
    let shapes = [
        shape::<Chain>(),
        shape::<Event>(),
        shape::<Renamed>(),
        shape::<(Page<u8>, Page<Point>)>(),
        shape::<(Short, [u8; 32], Marker, Empty)>(),
        shape::<Flat>(),
        shape::<Error>(),
        method(),
    ];
    for (place, shape) in shapes.iter().enumerate() {
        for (other_place, other) in shapes.iter().enumerate() {
            let told = told(shape.describe(), other.describe());
            assert!(!told.contains("cannot be read"), "{}: {told}", shape.describe());
            let is_alike = told == "both sides describe it alike";
            assert_eq!(is_alike, place == other_place, "{}: {told}", shape.describe());
        }
    }
}

#[test]
fn texts_without_end_are_refused() {
    let deep = format!("() -> {}u8{}", "Vec<".repeat(100_000), ">".repeat(100_000));
    let long = format!("() -> {}", "x".repeat(1 << 20));
    for text in [deep, long, format!("() -> {}", "A {".repeat(70_000))] {
        assert_eq!(told(&text, "() -> u8"), "the caller's description of it cannot be read");
    }
    // What is repeated of a name has an end.
    let name = "é".repeat(1_000);
    assert!(told(&format!("({name}: u8) -> u8"), "() -> u8").len() < 200);
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,2}",
        proptest::sample::select(vec![
            "(",
            ")",
            "{",
            "}",
            "<",
            ">",
            "[",
            "]",
            ",",
            ":",
            ";",
            "#",
            "#2",
            "->",
            "or",
            "Option",
            "Vec",
            "Map",
            "u8",
            "self_describing",
            "\"",
            "\\",
            "\"a b\"",
            "é",
            " ",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn any_text_is_compared(
        caller in any::<String>(),
        tokens in proptest::collection::vec(token(), 0..60),
        other in proptest::collection::vec(token(), 0..20),
    ) {
        let begun = format!("({}", tokens.join(" "));
        told(&caller, &begun);
        told(&begun, "(a: P { x: u8 }, b: P) -> Option<u8> or E { A, B(P) }");
        let body = format!("() -> A {{ {} }}", other.join(" "));
        told(&body, &body);
        told(&body, "() -> A { a: A, b: B { a, b(A), c { a: u8 } } }");
    }

    /// Texts one letter away from good ones are most likely to reach the depths.
    #[test]
    fn a_damaged_text_is_compared(place in 0usize..300, letter in "[a-zA-Z(){}<>,:;#\"]") {
        let shape = shape::<Chain>();
        let mut damaged: Vec<char> = shape.describe().chars().collect();
        let place = place % damaged.len();
        damaged.splice(place..=place, letter.chars());
        told(shape.describe(), &damaged.into_iter().collect::<String>());
    }
}
