//! The checksum of a migration: FNV-1a, 64 bits, over the tokens of its body.
//!
//! Guarantee: comments, line breaks, indentation, trailing commas and the compiler's version do not
//! count; every other token does. For that the tokens are walked one by one:
//! `TokenStream::to_string` puts spaces where the compiler of the day likes them.
//!
//! The value is stored with the data of every object, so this file must never change what it
//! gives for a body; the tests hold golden values.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The checksum of a function's body.
pub(crate) fn of_body(body: &TokenStream) -> u64 {
    let mut hash = Hash(OFFSET);
    hash.stream(body.clone());
    hash.0
}

/// The checksum as users write it: 16 hex digits.
pub(crate) fn in_hex(checksum: u64) -> String {
    format!("{checksum:016x}")
}

struct Hash(u64);

impl Hash {
    fn stream(&mut self, stream: TokenStream) {
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let next = tokens.peek();
            match &token {
                TokenTree::Punct(comma) if comma.as_char() == ',' && next.is_none() => {}
                TokenTree::Punct(sharp) if sharp.as_char() == '#' && next.is_some_and(is_doc) => {
                    tokens.next();
                }
                token => self.token(token),
            }
        }
    }

    fn token(&mut self, token: &TokenTree) {
        match token {
            TokenTree::Ident(ident) => self.text('i', &ident.to_string()),
            TokenTree::Literal(literal) => self.text('l', &literal.to_string()),
            TokenTree::Punct(punct) => self.text('p', &punct.as_char().to_string()),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    // Invisible: the same code written by hand has no group here.
                    Delimiter::None => return self.stream(group.stream()),
                };
                self.text('g', open);
                self.stream(group.stream());
                self.text('g', close);
            }
        }
    }

    /// The kind before and the zero after keep `a b` and `ab` apart.
    fn text(&mut self, kind: char, text: &str) {
        let mut kind_bytes = [0; 4];
        let bytes = kind.encode_utf8(&mut kind_bytes).bytes().chain(text.bytes()).chain([0]);
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}

/// Whether the bracket group after a `#` is a doc comment in its other form.
fn is_doc(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(ident)) if ident == "doc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(body: &str) -> String {
        in_hex(of_body(&body.parse().unwrap()))
    }

    /// Stored in databases: a new value here is a broken database there.
    #[test]
    fn golden() {
        assert_eq!(checksum(""), "cbf29ce484222325");
        assert_eq!(checksum("db.execute_batch(\"CREATE TABLE hits (total)\")"), "81229c64e99bbbfd");
    }

    #[test]
    fn layout_and_comments_do_not_count() {
        let written = checksum("db . run(  a,b ) ; { x }");
        assert_eq!(checksum("db.run(\n    a, // why\n    b,\n);\n/// Docs.\n{ x }"), written);
    }

    #[test]
    fn tokens_count() {
        let bodies =
            ["db.run(a)", "db.run(b)", "db.run{a}", "db.run(ab)", "db.run(a b)", "db.run(\"a\")"];
        for (index, body) in bodies.iter().enumerate() {
            for other in &bodies[index + 1..] {
                assert_ne!(checksum(body), checksum(other), "{body} and {other}");
            }
        }
    }
}
