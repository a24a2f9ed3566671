//! What the macro makes of three objects, for reading: `tests/snapshots/*.expanded.rs`.
//!
//! `DURABLE_BLESS=1 cargo test -p durable-macros` writes them anew.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

use crate::expand_durable_object;

/// The expansion of `#[durable_object(..)] impl ..`, as source.
fn expansion_of(source: &str) -> String {
    let mut tokens = source.parse::<TokenStream>().unwrap().into_iter();
    let attribute = tokens.by_ref().find_map(|token| match token {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    let options = attribute.unwrap().into_iter().find_map(|token| match token {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    let expansion = expand_durable_object(options.unwrap_or_default(), tokens.collect());
    prettyplease::unparse(&syn::parse2(expansion).unwrap())
}

fn assert_snapshot(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let source = fs::read_to_string(directory.join(format!("{name}.rs"))).unwrap();
    let file = directory.join(format!("{name}.expanded.rs"));
    let expansion = expansion_of(&source);
    if std::env::var_os("DURABLE_BLESS").is_some() {
        fs::write(&file, &expansion).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(expansion == expected, "{} is now:\n{expansion}", file.display());
}

#[test]
fn an_empty_object() {
    assert_snapshot("empty");
}

#[test]
fn a_counter() {
    assert_snapshot("counter");
}

#[test]
fn a_chat_room() {
    assert_snapshot("chat_room");
}

/// However broken the block is, the user's own items come back.
#[test]
fn the_block_survives_its_errors() {
    for source in [
        "#[a] impl<T> Room<T> { pub async fn post(self) -> &str { half typed ( ) . } }",
        "#[a(what, is = 1)] impl Clone for Room { #[migration] fn clone(&self) {} }",
        "#[a] impl Room { fn new() {} async fn alarm() {} pub fn id(x: &mut u8) -> impl Fn() {} }",
        "#[a] struct Room { post: u8 }",
    ] {
        let mut tokens = source.parse::<TokenStream>().unwrap().into_iter().skip(2);
        let item: TokenStream = tokens.by_ref().collect();
        let kept = crate::input::without_migration_attributes(item.clone()).to_string();
        let expansion = expand_durable_object(TokenStream::new(), item).to_string();
        assert!(expansion.contains(&kept), "{expansion}");
        assert!(expansion.contains("compile_error"), "{expansion}");
    }
}

/// The rules that are reported for an impl block, in order.
fn rules_of(block: &str) -> Vec<String> {
    let expansion = expand_durable_object(TokenStream::new(), block.parse().unwrap());
    let text = expansion.to_string();
    let rule = |rest: &str| rest.split('"').next().unwrap_or_default().to_owned();
    text.split("rule: ").skip(1).map(rule).filter(|rule| rule != "hidden-result").collect()
}

#[test]
fn all_violations_are_reported_at_once_and_sound_siblings_stay() {
    let block = "impl Room {
        make!{}
        #[migration] fn first(db: &mut Migration<'_>) -> Result<()> {}
        async fn new(ctx: &Context<Self>) -> Self {}
        pub async fn post(&mut self, text: &mut str) -> &str { x.await }
        pub fn close(self, (a, b): (u8, u8)) { sleep(a) }
        pub fn good(&self) -> u8 { 1 }
        fn alarm(&mut self) {}
    }";
    let rules = [
        "macro-item",
        "migration-number",
        "async-new",
        "async-method",
        "mut-argument",
        "borrowed-return",
        "self-by-value",
        "pattern-argument",
        "sleep",
        "handler-signature",
    ];
    assert_eq!(rules_of(block), rules);
    let expansion = expand_durable_object(TokenStream::new(), block.parse().unwrap()).to_string();
    assert!(expansion.contains("\"good\" =>") && !expansion.contains("\"post\" =>"), "{expansion}");
}

#[test]
fn constructors() {
    for sound in [
        "fn new(ctx: &Context) -> Self {}",
        "pub fn new(_: &durable::Context<Self>) -> durable::Result<Self> {}",
        "fn new(ctx: &Context<Self>) -> Room {}",
        "fn new(ctx: &Context<Self>) -> Result<Self, MyError> {}",
    ] {
        assert_eq!(rules_of(&format!("impl Room {{ {sound} }}")), [] as [&str; 0], "{sound}");
    }
    for broken in [
        "fn new() -> Self {}",
        "fn new(&self, ctx: &Context) -> Self {}",
        "fn new(ctx: Context) -> Self {}",
        "fn new(ctx: &Context, more: u8) -> Self {}",
        "fn new<T>(ctx: &Context) -> Self {}",
        "fn new(ctx: &Context) {}",
        "fn new(ctx: &Context) -> Option<Self> {}",
    ] {
        assert_eq!(rules_of(&format!("impl Room {{ {broken} }}")), ["new-signature"], "{broken}");
    }
}

#[test]
fn handlers() {
    for broken in [
        "fn fetch(request: Request) -> Result<Response> {}",
        "async fn fetch(&mut self, request: Request) -> Result<Response> {}",
        "fn fetch(self, ctx: &Context<Self>, request: Request) -> Result<Response> {}",
        "fn fetch(this: Handle<Self>, request: Request) -> Result<Response> {}",
        "async fn fetch(this: Handle<Self>) -> Result<Response> {}",
        "fn fetch(&mut self, request: Request) -> Result<Response> {}",
        "fn fetch(&mut self, ctx: &Context<Self>, request: Request) {}",
        "fn fetch<T>(&mut self, ctx: &Context<Self>, request: Request) -> Result<T> {}",
    ] {
        assert_eq!(
            rules_of(&format!("impl Room {{ {broken} }}")),
            ["handler-signature"],
            "{broken}"
        );
    }
    let near =
        "impl Room { async fn fetsh(this: Handle<Self>, request: Request) -> Result<()> {} }";
    assert_eq!(rules_of(near), ["misspelt-handler"]);
}

#[test]
fn migrations() {
    let form = "(db: &mut Migration<'_>) -> Result<()> {}";
    for (block, rules) in [
        (format!("#[migration(2)] fn a{form}"), vec!["migration-gap"]),
        (format!("#[migration(-1)] fn a{form}"), vec!["migration-number"]),
        (format!("#[migration(1, pin = \"a\")] fn a{form}"), vec!["migration-number"]),
        (format!("#[migration(99999999999)] fn a{form}"), vec!["migration-number"]),
        (format!("#[migration(1, checksum = \"CBF29CE484222325\",)] fn a{form}"), vec![]),
        ("#[migration(1)] fn a() -> Result<()> {}".into(), vec!["migration-signature"]),
        (
            "#[migration(1)] fn a(db: Migration<'_>) -> Result<()> {}".into(),
            vec!["migration-signature"],
        ),
        ("#[migration(1)] fn a(db: &mut Migration<'_>) {}".into(), vec!["migration-signature"]),
        ("#[migration(1)] fn a<'m>(db: &mut Migration<'m>) -> Result<()> {}".into(), vec![]),
    ] {
        assert_eq!(rules_of(&format!("impl Room {{ {block} }}")), rules, "{block}");
    }
}

/// Only visible functions are business methods, and what they may take is looked at in depth.
#[test]
fn methods() {
    for (method, rules) in [
        ("pub(self) async fn own(self) {}", vec![]),
        ("pub(crate) async fn post(&self) {}", vec!["async-method"]),
        ("pub fn a(&self, x: Vec<(u8, &str)>) {}", vec!["nested-reference"]),
        ("pub fn a(&self, x: &&str) {}", vec!["nested-reference"]),
        ("pub fn a(&self, x: Cow<'_, str>, y: Cow<'static, str>) {}", vec!["nested-reference"]),
        ("pub fn a(&self, x: Option<fn()>) {}", vec!["pointer-argument"]),
        ("pub fn a(&self, x: [Box<dyn Any>; 2]) {}", vec!["opaque-argument"]),
        ("pub fn a(&self) -> Result<Vec<&u8>> {}", vec!["borrowed-return"]),
        ("pub fn a(&self) -> Result<u8, Box<dyn Error>> {}", vec!["opaque-return"]),
        ("pub fn a(self: &Self, x: Vec<Self>) -> [u8; Self::SIZE] {}", vec![]),
        ("pub fn a(self: Box<Self>) {}", vec!["self-by-value"]),
    ] {
        assert_eq!(rules_of(&format!("impl Room {{ {method} }}")), rules, "{method}");
    }
}
