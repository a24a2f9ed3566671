//! The options of the attribute: `name = ".."`, `renamed_from = ".."`, `expires_after = ".."`, `crate = path`.
//!
//! Reading never fails: what is no option is kept as a problem for `rules` to report.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, LitStr, Path, Token};

/// The options as written.
#[derive(Default)]
pub(crate) struct Options {
    /// The stored class name.
    pub(crate) name: Option<LitStr>,
    /// Former class names.
    pub(crate) renamed_from: Vec<LitStr>,
    /// After how long an object that nobody uses deletes itself.
    pub(crate) expires_after: Option<LitStr>,
    /// Where `durable` is found.
    pub(crate) crate_path: Option<Path>,
    /// What could not be understood.
    pub(crate) problems: Vec<OptionProblem>,
}

/// Tokens that are no option.
pub(crate) struct OptionProblem {
    pub(crate) tokens: TokenStream,
    pub(crate) what: String,
}

enum Choice {
    Name(LitStr),
    RenamedFrom(LitStr),
    ExpiresAfter(LitStr),
    Crate(Path),
}

impl Options {
    /// Reads the tokens between the parentheses of the attribute.
    pub(crate) fn parse(tokens: TokenStream) -> Options {
        let mut options = Options::default();
        for part in super::split_at_commas(tokens) {
            if let Ok(choice) = parse_choice.parse2(part.clone()) {
                options.choose(choice, part);
            } else {
                let shown = super::text_of(&part);
                let what = format!("`{shown}` is not an option of `#[durable_object]`");
                options.problems.push(OptionProblem { tokens: part, what });
            }
        }
        options
    }

    /// The path of the crate `durable`.
    pub(crate) fn crate_path(&self) -> TokenStream {
        self.crate_path.as_ref().map_or_else(|| quote!(::durable), |path| quote!(#path))
    }

    fn choose(&mut self, choice: Choice, part: TokenStream) {
        let twice = match choice {
            Choice::Name(name) | Choice::RenamedFrom(name) if name.value().is_empty() => {
                let what = "a class name cannot be empty".to_owned();
                return self.problems.push(OptionProblem { tokens: part, what });
            }
            Choice::Name(name) => self.name.replace(name).is_some(),
            Choice::ExpiresAfter(time) => self.expires_after.replace(time).is_some(),
            Choice::Crate(path) => self.crate_path.replace(path).is_some(),
            Choice::RenamedFrom(name) => {
                self.renamed_from.push(name);
                false
            }
        };
        if twice {
            let what = "this option is given twice".to_owned();
            self.problems.push(OptionProblem { tokens: part, what });
        }
    }
}

fn parse_choice(input: ParseStream<'_>) -> syn::Result<Choice> {
    let key = input.call(Ident::parse_any)?;
    input.parse::<Token![=]>()?;
    match key.to_string().as_str() {
        "name" => input.parse().map(Choice::Name),
        "renamed_from" => input.parse().map(Choice::RenamedFrom),
        "expires_after" => input.parse().map(Choice::ExpiresAfter),
        "crate" => input.call(Path::parse_mod_style).map(Choice::Crate),
        _ => Err(input.error("not an option")),
    }
}

/// The seconds of a time such as `30d`; the units are `s`, `m`, `h` and `d`.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let number = text.strip_suffix(unit)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|number| is_plain && *number > 0)?;
    // Further than anybody plans, and far from where times end.
    number.checked_mul(seconds).filter(|seconds| *seconds <= 100_000 * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_number_and_a_unit() {
        let good = [("1s", 1), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000)];
        for (text, expected) in good {
            assert_eq!(seconds(text), Some(expected));
        }
        let endless = format!("{}d", u64::MAX);
        for text in [
            "", "d", "0d", "30", "30 d", "-1d", "+1d", "1.5h", "1w", "1é", "1d ", "100001d",
            &endless,
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
