//! What is exposed, in schemas: the one reading of the classes that the OpenAPI document and the TypeScript client share.

use durable_runtime::__private::{Access, MethodDescription, TypeSchema};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::class::Exposed;

/// Where types with a name are found by those that refer to them.
pub(crate) const DEFINITIONS: &str = "#/components/schemas/";

/// All that is exposed.
pub(crate) struct Described {
    pub(crate) classes: Vec<DescribedClass>,
    /// Types with a name.
    pub(crate) definitions: Map<String, Value>,
}

pub(crate) struct DescribedClass {
    pub(crate) name: &'static str,
    pub(crate) fetch: bool,
    pub(crate) methods: Vec<DescribedMethod>,
}

/// A method. A type without a schema has `{}`, which allows everything.
pub(crate) struct DescribedMethod {
    pub(crate) name: &'static str,
    /// The doc comment.
    pub(crate) docs: String,
    pub(crate) only_reads: bool,
    pub(crate) arguments: Vec<DescribedArgument>,
    pub(crate) reply: Value,
    pub(crate) error: Value,
}

pub(crate) struct DescribedArgument {
    pub(crate) name: &'static str,
    pub(crate) is_optional: bool,
    pub(crate) schema: Value,
}

impl Described {
    /// The classes by name, their methods in the order of the source.
    pub(crate) fn new(exposed: &[Exposed]) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.meta_schema = None;
            settings.definitions_path = "/components/schemas".into();
        });
        let mut generator = settings.into_generator();
        let mut classes: Vec<_> = exposed
            .iter()
            .map(|exposed| DescribedClass {
                name: exposed.class.name(),
                fetch: exposed.fetch,
                methods: exposed
                    .methods
                    .iter()
                    .map(|method| describe(method, &mut generator))
                    .collect(),
            })
            .collect();
        classes.sort_by_key(|class| class.name);
        Described { classes, definitions: generator.take_definitions(true) }
    }
}

fn describe(method: &MethodDescription, generator: &mut SchemaGenerator) -> DescribedMethod {
    let mut schema = |of: TypeSchema| of.make(generator).map_or_else(|| json!({}), Value::from);
    let arguments = method.arguments.iter().map(|argument| DescribedArgument {
        name: argument.name,
        is_optional: argument.is_optional,
        schema: schema(argument.schema),
    });
    DescribedMethod {
        name: method.info.name,
        docs: docs(method.docs),
        only_reads: method.info.access == Access::ReadOnly,
        arguments: arguments.collect(),
        reply: schema(method.reply),
        error: schema(method.error),
    }
}

/// The text of a doc comment, without the blank that begins each line of one that was written with slashes.
fn docs(lines: &[&str]) -> String {
    let plain = |line: &&str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned();
    lines.iter().map(plain).collect::<Vec<_>>().join("\n").trim().to_owned()
}
