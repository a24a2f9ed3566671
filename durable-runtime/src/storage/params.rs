//! Parameters of SQL statements.

use std::fmt;

use rusqlite::{Statement, ToSql};

use super::value::Value;
use crate::engine::sqlite;
use crate::{Error, ErrorKind, Result};

/// What can be given as the parameters of a statement.
///
/// | form | meaning |
/// | --- | --- |
/// | `[]`, `()` | no parameters |
/// | `(name, 5, true)` | a tuple of 1 to 16 values of any types |
/// | `[1, 2, 3]` | an array of 1 to 32 values of one type |
/// | `&values[..]`, `&vec`, `vec` | a slice or `Vec` of integers, floats, `bool`, `String`, `&str`, `Vec<u8>`, [`Value`](crate::Value) or `&dyn ToSql`, of any length |
/// | `&[(":id", &5 as &dyn ToSql)]` | by name, with the `:`, `@` or `$` |
///
/// A value is anything that is [`ToSql`]: integers (a `u64` above `i64::MAX` is an error), floats,
/// `bool` (as 0 and 1), strings, byte vectors and slices (as BLOB), `Option` (`None` is NULL) and
/// references to them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the parameters of a statement",
    label = "not parameters",
    note = "help: give `[]`, a tuple such as `(name, 5)`, an array of 1 to 32 values, a slice, or `&[(\":name\", &value as &dyn ToSql)]`"
)]
pub trait Params: sealed::Sealed {
    /// Gives the values to the statement.
    #[doc(hidden)]
    fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()>;
}

mod sealed {
    pub trait Sealed {}
}

/// A statement that is given its parameters.
#[doc(hidden)]
pub struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
}

impl fmt::Debug for Binder<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binder")
    }
}

impl<'a, 'c> Binder<'a, 'c> {
    pub(super) fn new(statement: &'a mut Statement<'c>) -> Self {
        Binder { statement }
    }

    fn positional<'v>(
        &mut self,
        values: impl ExactSizeIterator<Item = &'v dyn ToSql>,
    ) -> Result<()> {
        self.check_count(values.len())?;
        for (index, value) in (1..).zip(values) {
            self.put(index, value).map_err(|error| error.context(format!("parameter {index}")))?;
        }
        Ok(())
    }

    fn named(&mut self, values: &[(&str, &dyn ToSql)]) -> Result<()> {
        self.check_count(values.len())?;
        let mut given = vec![false; values.len()];
        for (name, value) in values {
            let index = self.statement.parameter_index(name).map_err(sqlite::error)?;
            let Some(slot) = index.and_then(|index| given.get_mut(index - 1)) else {
                return Err(wrong(format_args!("the statement has no parameter `{name}`")));
            };
            if std::mem::replace(slot, true) {
                return Err(wrong(format_args!("the parameter `{name}` is given twice")));
            }
            let index = index.unwrap_or_default();
            self.put(index, value).map_err(|error| error.context(format!("parameter `{name}`")))?;
        }
        Ok(())
    }

    fn check_count(&self, given: usize) -> Result<()> {
        match self.statement.parameter_count() {
            wanted if wanted == given => Ok(()),
            wanted => Err(wrong(format_args!(
                "the statement has {wanted} parameters and {given} were given"
            ))),
        }
    }

    fn put(&mut self, index: usize, value: &dyn ToSql) -> Result<()> {
        self.statement.raw_bind_parameter(index, value).map_err(sqlite::error)
    }
}

fn wrong(message: fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Sql, message)
}

impl sealed::Sealed for () {}

impl Params for () {
    fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
        binder.check_count(0)
    }
}

// The only array of length 0, so that the type of `[]` is known.
impl sealed::Sealed for [&dyn ToSql; 0] {}

impl Params for [&dyn ToSql; 0] {
    fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
        binder.check_count(0)
    }
}

impl sealed::Sealed for &[(&str, &dyn ToSql)] {}

impl Params for &[(&str, &dyn ToSql)] {
    fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
        binder.named(self)
    }
}

impl<const N: usize> sealed::Sealed for &[(&str, &dyn ToSql); N] {}

impl<const N: usize> Params for &[(&str, &dyn ToSql); N] {
    fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
        binder.named(self)
    }
}

macro_rules! arrays {
    ($($length:literal)+) => {$(
        impl<T: ToSql> sealed::Sealed for [T; $length] {}

        impl<T: ToSql> Params for [T; $length] {
            fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
                binder.positional(self.iter().map(|value| value as &dyn ToSql))
            }
        }
    )+};
}

arrays!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);

// One impl for every `T: ToSql` would overlap with the named form. `u8` is absent because `&[u8]` is one blob.
macro_rules! slices {
    ($($type:ty),+) => {$(
        impl sealed::Sealed for &[$type] {}

        impl Params for &[$type] {
            fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
                binder.positional(self.iter().map(|value| value as &dyn ToSql))
            }
        }

        impl sealed::Sealed for &Vec<$type> {}

        impl Params for &Vec<$type> {
            fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
                self.as_slice().bind(binder)
            }
        }

        impl sealed::Sealed for Vec<$type> {}

        impl Params for Vec<$type> {
            fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
                self.as_slice().bind(binder)
            }
        }
    )+};
}

slices!(
    i8,
    i16,
    i32,
    i64,
    isize,
    u16,
    u32,
    u64,
    usize,
    f32,
    f64,
    bool,
    String,
    &str,
    Vec<u8>,
    &[u8],
    Value,
    &dyn ToSql
);

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: ToSql),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: ToSql),+> Params for ($($name,)+) {
            #[allow(non_snake_case, reason = "one name for a type and its value")]
            fn bind(self, binder: &mut Binder<'_, '_>) -> Result<()> {
                let ($($name,)+) = &self;
                let values = [$($name as &dyn ToSql),+];
                binder.positional(values.into_iter())
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
tuples!(A B C D E F G H I J K L M);
tuples!(A B C D E F G H I J K L M N);
tuples!(A B C D E F G H I J K L M N O);
tuples!(A B C D E F G H I J K L M N O P);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::turn_on_scratch;

    #[test]
    fn every_form() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            let sum = "SELECT ?1 + ?2";
            assert_eq!(sql.query_one::<i64>("SELECT 3", []).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>("SELECT 3", ()).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, [1, 2]).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, (1, 2_u8)).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, &vec![1_i64, 2][..]).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, &vec![1_i64, 2]).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, vec![1_u64, 2]).unwrap(), 3);
            let dynamic = [Value::Integer(1), Value::Integer(2)];
            assert_eq!(sql.query_one::<i64>(sum, &dynamic[..]).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, dynamic.to_vec()).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(sum, dynamic).unwrap(), 3);
            let values: [&dyn ToSql; 2] = [&1, &2.5];
            assert_eq!(
                sql.query_one::<Option<i64>>("SELECT ?1 + ?2 = 3.5", &values[..]).unwrap(),
                Some(1)
            );
            let named = "SELECT :a + @b";
            let values = [("@b", &2 as &dyn ToSql), (":a", &1)];
            assert_eq!(sql.query_one::<i64>(named, &values).unwrap(), 3);
            assert_eq!(sql.query_one::<i64>(named, &values[..]).unwrap(), 3);
            let text: (String, Option<i64>, Vec<u8>) =
                sql.query_one("SELECT ?, ?, ?", ("ü", None::<i64>, &b"\0\x01"[..])).unwrap();
            assert_eq!(text, ("ü".into(), None, vec![0, 1]));
        });
    }

    #[test]
    fn wrong_numbers_and_names() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            let error = sql.query_one::<i64>("SELECT ? + ?", [1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Sql);
            assert_eq!(error.message(), "the statement has 2 parameters and 1 were given");
            let error = sql.execute("SELECT 1", [1]).unwrap_err();
            assert_eq!(error.message(), "the statement has 0 parameters and 1 were given");
            let error = sql.query_one::<i64>("SELECT :a", &[(":b", &1 as &dyn ToSql)]).unwrap_err();
            assert_eq!(error.message(), "the statement has no parameter `:b`");
            let twice = [(":a", &1 as &dyn ToSql), (":a", &2)];
            let error = sql.query_one::<i64>("SELECT :a + :b", &twice).unwrap_err();
            assert_eq!(error.message(), "the parameter `:a` is given twice");
        });
    }

    #[test]
    fn how_values_are_stored() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            let stored = |value: &dyn ToSql| -> (String, Value) {
                sql.query_one("SELECT typeof(?1), ?1", [value]).unwrap()
            };
            assert_eq!(stored(&true), ("integer".into(), Value::Integer(1)));
            assert_eq!(stored(&false), ("integer".into(), Value::Integer(0)));
            assert_eq!(stored(&1_u8), ("integer".into(), Value::Integer(1)));
            assert_eq!(stored(&0.5_f32), ("real".into(), Value::Real(0.5)));
            assert_eq!(stored(&f64::INFINITY), ("real".into(), Value::Real(f64::INFINITY)));
            assert_eq!(stored(&f64::NAN), ("null".into(), Value::Null));
            assert_eq!(stored(&"a\0b"), ("text".into(), Value::Text("a\0b".into())));
            assert_eq!(stored(&""), ("text".into(), Value::Text(String::new())));
            assert_eq!(stored(&[0_u8; 2]), ("blob".into(), Value::Blob(vec![0; 2])));
            assert_eq!(stored(&Vec::<u8>::new()), ("blob".into(), Value::Blob(Vec::new())));
            assert_eq!(stored(&None::<String>), ("null".into(), Value::Null));
            // A slice of bytes is one value, not many.
            assert_eq!(sql.query_one::<i64>("SELECT length(?)", (&[1_u8, 2, 3][..],)).unwrap(), 3);
        });
    }

    #[test]
    fn edges_of_integers() {
        turn_on_scratch(|store| {
            let sql = store.sql();
            for value in [i64::MIN, -1, 0, (1 << 53) + 1, i64::MAX] {
                assert_eq!(sql.query_one::<i64>("SELECT ?", [value]).unwrap(), value);
            }
            let largest = u64::try_from(i64::MAX).unwrap();
            assert_eq!(sql.query_one::<u64>("SELECT ?", [largest]).unwrap(), largest);
            let error = sql.query_one::<u64>("SELECT ?", [u64::MAX]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Encoding);
            assert!(error.message().starts_with("parameter 1: "), "{error}");
        });
    }
}
