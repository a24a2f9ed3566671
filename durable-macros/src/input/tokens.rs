//! Work on raw tokens: taking `#[migration]` away, and showing tokens as a person would write them.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// The item without the `#[migration(..)]` attributes of its functions.
///
/// Done on tokens and not on the model, so that what cannot be parsed loses them too.
pub(crate) fn without_migration_attributes(item: TokenStream) -> TokenStream {
    let is_content =
        |group: &Group| matches!(group.delimiter(), Delimiter::Brace | Delimiter::None);
    item.into_iter()
        .map(|token| match token {
            TokenTree::Group(group) if is_content(&group) => {
                rebuild(&group, strip_content(group.stream()))
            }
            other => other,
        })
        .collect()
}

fn strip_content(content: TokenStream) -> TokenStream {
    let mut output = TokenStream::new();
    let mut tokens = content.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sharp)
                if sharp.as_char() == '#' && tokens.peek().is_some_and(is_migration) =>
            {
                tokens.next();
            }
            // An item that came through a `macro_rules!` fragment.
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                output.extend([rebuild(&group, strip_content(group.stream()))]);
            }
            other => output.extend([other]),
        }
    }
    output
}

fn rebuild(group: &Group, content: TokenStream) -> TokenTree {
    let mut rebuilt = Group::new(group.delimiter(), content);
    rebuilt.set_span(group.span());
    rebuilt.into()
}

/// `[migration ..]`, `[durable::migration ..]`
fn is_migration(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let mut last = None;
    for token in group.stream() {
        match token {
            TokenTree::Ident(ident) => last = Some(ident),
            TokenTree::Punct(colon) if colon.as_char() == ':' => {}
            _ => break,
        }
    }
    group.delimiter() == Delimiter::Bracket && last.is_some_and(|ident| ident == "migration")
}

/// The parts between commas, without empty ones.
pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens {
        let is_comma = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        match parts.last_mut() {
            Some(part) if !is_comma => part.extend([token]),
            _ => parts.push(TokenStream::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Tokens as text, with spaces where `rustfmt` puts them in a type or an attribute.
pub(crate) fn text_of(tokens: &TokenStream) -> String {
    let mut text = String::new();
    append(&mut text, tokens.clone());
    text
}

fn append(text: &mut String, tokens: TokenStream) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                append(text, group.stream());
                text.push_str(close);
            }
            TokenTree::Punct(punct) => append_punct(text, punct.as_char(), punct.spacing()),
            word => {
                if text.ends_with(|last: char| last.is_alphanumeric() || "_\")>".contains(last)) {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

fn append_punct(text: &mut String, punct: char, spacing: Spacing) {
    match punct {
        ',' | ';' => text.extend([punct, ' ']),
        '=' | '+' => text.extend([' ', punct, ' ']),
        ':' if spacing == Spacing::Alone && !text.ends_with(':') => text.push_str(": "),
        '-' if spacing == Spacing::Joint => text.push_str(" -"),
        '>' if text.ends_with(" -") => text.push_str("> "),
        _ => text.push(punct),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_like_source() {
        for source in [
            "&'a Vec<Option<&str>>",
            "impl Into<String> + Send",
            "fn(u8, u8) -> u8",
            "std::collections::HashMap<K, V>",
            "colour = \"red\"",
            "[u8; 4]",
        ] {
            assert_eq!(text_of(&source.parse().unwrap()), source);
        }
    }

    #[test]
    fn only_migration_attributes_go() {
        let item = "impl A { #[migration(1)] #[inline] fn a() {} #[durable::migration] fn b() {} }";
        let expected = "impl A { #[inline] fn a() {} fn b() {} }";
        let stripped = without_migration_attributes(item.parse().unwrap());
        assert_eq!(stripped.to_string(), expected.parse::<TokenStream>().unwrap().to_string());
    }
}
