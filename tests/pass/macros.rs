//! Objects, types and functions that come through `macro_rules!`.

use durable::prelude::*;

macro_rules! object {
    ($name:ident, $type:ty, $visibility:vis, $context:ty) => {
        #[derive(Default)]
        pub struct $name;

        #[durable_object]
        impl $name {
            $visibility fn get(&self, ctx: $context, key: $type) -> Result<$type> {
                let _ = ctx.id();
                Ok(key)
            }

            pub fn borrow(&self, key: &$type) -> $type {
                key.clone()
            }
        }
    };
}

object!(Words, String, pub, &Context);
object!(Numbers, Vec<u64>, pub(crate), &Context<Self>);

macro_rules! object_of_type {
    ($type:ty, $reference:ty) => {
        #[durable_object]
        impl $type {
            pub fn len(&self, text: $reference) -> usize {
                text.len()
            }
        }
    };
}

#[derive(Default)]
pub struct Lengths;

object_of_type!(Lengths, &str);

fn callers(words: &WordsStub, numbers: &NumbersStub, lengths: &LengthsStub) {
    let _ = (words.get("a".to_owned()), words.borrow(&"a".to_owned()));
    let _ = (numbers.get(vec![]), lengths.len("a"));
}
