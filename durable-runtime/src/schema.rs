//! What a type looks like from outside: its JSON schema, where it has one.
//!
//! The macro names every argument and reply through `schema_of!`. Without the feature `openapi`
//! that is nothing at all; with it, a type that has a schema gives it and any other type gives none, so
//! nobody has to derive `JsonSchema`.

/// Gives the schema of one type, if the type has one and the feature `openapi` is on.
#[derive(Clone, Copy, Debug)]
pub struct TypeSchema {
    #[cfg(feature = "openapi")]
    make: Option<fn(&mut schemars::SchemaGenerator) -> schemars::Schema>,
}

impl TypeSchema {
    /// Of a type that has no schema.
    pub const NONE: Self = TypeSchema {
        #[cfg(feature = "openapi")]
        make: None,
    };

    /// The schema, with what it refers to left in the generator.
    #[cfg(feature = "openapi")]
    pub fn make(self, generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
        self.make.map(|make| make(generator))
    }
}

/// Tells whether a type has a schema.
///
/// `SchemaProbe::<T>::SCHEMA` is the inherent constant for a type with a schema, else the one of
/// [`NoSchema`]. It works for types that are written out, not for type parameters.
#[cfg(feature = "openapi")]
#[derive(Debug)]
pub struct SchemaProbe<T: ?Sized>(std::marker::PhantomData<T>);

#[cfg(feature = "openapi")]
impl<T: schemars::JsonSchema + ?Sized> SchemaProbe<T> {
    /// What makes it.
    pub const SCHEMA: TypeSchema =
        TypeSchema { make: Some(schemars::SchemaGenerator::subschema_for::<T>) };
}

/// What [`SchemaProbe`] says of all other types.
#[cfg(feature = "openapi")]
pub trait NoSchema {
    /// None.
    const SCHEMA: TypeSchema = TypeSchema::NONE;
}

#[cfg(feature = "openapi")]
impl<T: ?Sized> NoSchema for SchemaProbe<T> {}

/// The [`TypeSchema`] of a type.
#[cfg(feature = "openapi")]
#[doc(hidden)]
#[macro_export]
macro_rules! __schema_of {
    ($type:ty) => {{
        #[allow(unused_imports)]
        use $crate::__private::NoSchema as _;
        $crate::__private::SchemaProbe::<$type>::SCHEMA
    }};
}

/// The [`TypeSchema`] of a type.
#[cfg(not(feature = "openapi"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __schema_of {
    ($type:ty) => {
        $crate::__private::TypeSchema::NONE
    };
}

/// What the types of ours that users put into arguments and replies look like.
#[cfg(feature = "openapi")]
mod ours {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use crate::{DurableObject, Error, ObjectId};

    impl<T: DurableObject> JsonSchema for ObjectId<T> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "ObjectId".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
        }
    }

    impl JsonSchema for Error {
        fn schema_name() -> Cow<'static, str> {
            "DurableError".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "object",
                "properties": {
                    "kind": { "type": "string" },
                    "message": { "type": "string" },
                    "constraint": { "type": ["string", "null"] },
                },
                "required": ["kind", "message"],
            })
        }
    }
}
