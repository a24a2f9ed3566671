//! A TypeScript client of what is exposed: one class for each class, typed from the schemas, `unknown` where there is none.
//!
//! It stands on `fetch` alone, so a page can use it as it is. The user's types are in a namespace of their own and written without
//! any global type, so that a type of theirs called `Response` or `Record` is in nobody's way.

mod types;

use std::fmt::Write as _;

use crate::described::{Described, DescribedArgument, DescribedClass, DescribedMethod};
use types::{identifier, key, type_of};

/// What every client begins with.
const PRELUDE: &str = include_str!("typescript/prelude.ts");

/// The text of the client.
pub(crate) fn client(described: &Described) -> String {
    let mut text = PRELUDE.to_owned();
    if !described.definitions.is_empty() {
        text.push_str("\nexport namespace Types {\n");
        for (name, schema) in &described.definitions {
            let docs = schema["description"].as_str().unwrap_or_default();
            push_docs(&mut text, "  ", docs);
            let _ = writeln!(text, "  export type {} = {};", identifier(name), type_of(schema));
        }
        text.push_str("}\n");
    }
    for class in &described.classes {
        push_class(&mut text, class);
    }
    text
}

fn push_class(text: &mut String, class: &DescribedClass) {
    let (name, stub) = (literal(class.name), format!("{}Stub", identifier(class.name)));
    let _ = write!(
        text,
        r"
/** Calls one `{class}`. */
export class {stub} {{
  readonly #object: ObjectUrl;

  private constructor(object: ObjectUrl) {{
    this.#object = object;
  }}

  /** The object with this name. `base` is where the router is, such as `/objects`; `init` goes with every request. */
  static named(base: string, name: string, init: RequestInit = {{}}): {stub} {{
    return new {stub}(ObjectUrl.named(base, {name}, name, init));
  }}

  /** The object with this id. */
  static withId(base: string, id: string, init: RequestInit = {{}}): {stub} {{
    return new {stub}(ObjectUrl.withId(base, {name}, id, init));
  }}
",
        class = class.name.replace("*/", "* /"),
    );
    if class.fetch {
        text.push_str(
            r#"
  /** Sends a request to the object's `fetch` handler. `path` begins with a slash. */
  fetch(path = "/", init: RequestInit = {}): Promise<Response> {
    return this.#object.fetch(path, init);
  }
"#,
        );
    }
    for method in &class.methods {
        push_method(text, method);
    }
    text.push_str("}\n");
}

fn push_method(text: &mut String, method: &DescribedMethod) {
    text.push('\n');
    push_docs(text, "  ", &method.docs);
    let name = literal(method.name);
    // `constructor` is a name like any other only where it is computed.
    let name_there = if method.name == identifier(method.name) && method.name != "constructor" {
        method.name.to_owned()
    } else {
        format!("[{name}]")
    };
    let reply = type_of(&method.reply);
    let arguments =
        method.arguments.iter().map(|DescribedArgument { name, is_optional, schema }| {
            let sign = if *is_optional { "?" } else { "" };
            format!("{}{sign}: {}", key(name), type_of(schema))
        });
    let arguments = arguments.collect::<Vec<_>>().join("; ");
    let (taken, given) = if arguments.is_empty() {
        (String::new(), "{}")
    } else if method.arguments.iter().all(|argument| argument.is_optional) {
        (format!("args: {{ {arguments} }} = {{}}"), "args")
    } else {
        (format!("args: {{ {arguments} }}"), "args")
    };
    let _ = write!(
        text,
        "  {name_there}({taken}): Promise<{reply}> {{\n    return this.#object.call({name}, {given}) as Promise<{reply}>;\n  }}\n"
    );
}

fn push_docs(text: &mut String, indent: &str, docs: &str) {
    if docs.is_empty() {
        return;
    }
    let docs = docs.replace("*/", "* /");
    if docs.contains('\n') {
        let _ = writeln!(text, "{indent}/**");
        for line in docs.lines() {
            let _ = writeln!(text, "{}", format!("{indent} * {line}").trim_end());
        }
        let _ = writeln!(text, "{indent} */");
    } else {
        let _ = writeln!(text, "{indent}/** {docs} */");
    }
}

/// A JSON string is one of TypeScript's.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
