//! SQLite's mathematical functions, which the bundled SQLite is built without.
//!
//! On every connection they would take 8 KiB and a quarter of the time to open it, so they are added when a
//! statement first misses one.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

/// Whether a statement failed for want of a function.
pub(super) fn is_missing(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    text.contains("no such function: ") || text.contains("unknown function: ")
}

type Unary = fn(f64) -> f64;
type Binary = fn(f64, f64) -> f64;

const UNARY: [(&str, Unary); 20] = [
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", f64::to_degrees),
    ("exp", f64::exp),
    ("ln", |x| positive(x).ln()),
    ("log", |x| positive(x).log10()),
    ("log10", |x| positive(x).log10()),
    ("log2", |x| positive(x).log2()),
    ("radians", f64::to_radians),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

const BINARY: [(&str, Binary); 5] = [
    ("atan2", f64::atan2),
    ("log", logarithm),
    ("mod", |x, y| x % y),
    ("pow", f64::powf),
    ("power", f64::powf),
];

/// These leave integers as they are.
const ROUNDING: [(&str, Unary); 4] =
    [("ceil", f64::ceil), ("ceiling", f64::ceil), ("floor", f64::floor), ("trunc", f64::trunc)];

/// Adds all of them.
pub(super) fn install(connection: &Connection) -> rusqlite::Result<()> {
    // Without `INNOCUOUS` views, triggers and generated columns could not use them.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("pi", 0, flags, |_| Ok(std::f64::consts::PI))?;
    for (name, function) in UNARY {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(number(context, 0).map(|x| function(real(&x))))
        })?;
    }
    for (name, function) in BINARY {
        connection.create_scalar_function(name, 2, flags, move |context| {
            let numbers = number(context, 0).zip(number(context, 1));
            Ok(numbers.map(|(x, y)| function(real(&x), real(&y))))
        })?;
    }
    for (name, function) in ROUNDING {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(match number(context, 0) {
                Some(Value::Real(value)) => Value::Real(function(value)),
                Some(integer) => integer,
                None => Value::Null,
            })
        })?;
    }
    Ok(())
}

/// A logarithm of anything else is NULL, which is what becomes of NaN.
fn positive(x: f64) -> f64 {
    if x > 0.0 { x } else { f64::NAN }
}

fn logarithm(base: f64, x: f64) -> f64 {
    let base = positive(base).ln();
    if base > 0.0 { positive(x).ln() / base } else { f64::NAN }
}

/// An argument as a number, also from text that is one.
fn number(context: &Context<'_>, index: usize) -> Option<Value> {
    match context.get_raw(index) {
        ValueRef::Integer(value) => Some(Value::Integer(value)),
        ValueRef::Real(value) => Some(Value::Real(value)),
        ValueRef::Text(text) => number_in(text),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn number_in(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    if let Ok(integer) = text.parse() {
        return Some(Value::Integer(integer));
    }
    // Rust knows names of numbers, SQL does not.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|_| is_plain).map(Value::Real)
}

#[expect(clippy::cast_precision_loss, reason = "as SQLite does it")]
fn real(value: &Value) -> f64 {
    match value {
        Value::Integer(value) => *value as f64,
        Value::Real(value) => *value,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests;
