//! Reads raw bodies for code that may not run inside a turn.
//!
//! The scan knows names, not types: it finds what is written out (`thread::sleep`, `.await`), also
//! inside macros, and misses what is hidden behind an import under another name or in another function.
//! The runtime's watchdog is there for those.
//!
//! Guarantee: nothing inside the arguments of `wait_until(..)` and `block_concurrency_while(..)` is
//! reported, and one mistake is found once: what was reported is not searched any further.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::input::text_of;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Await,
    AwaitInMacro,
    AsyncBlock,
    Spawn,
    Thread,
    Sleep,
    BlockOn,
    StaticState,
}

/// A piece of code that breaks a rule.
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// The smallest tokens that show it.
    pub(super) tokens: TokenStream,
    /// They, as text.
    pub(super) what: String,
}

/// Where async work is handed to the runtime.
const ASYNC_IS_ALLOWED: [&str; 2] = ["wait_until", "block_concurrency_while"];

/// Module and function, as the last two names of a path.
const PATHS: [(&str, &[&str], Kind); 12] = [
    ("thread", &["sleep", "sleep_ms", "sleep_until", "park", "park_timeout"], Kind::Sleep),
    ("time", &["sleep", "sleep_until", "interval", "interval_at"], Kind::Sleep),
    ("thread", &["spawn", "Builder"], Kind::Thread),
    ("tokio", &["spawn"], Kind::Spawn),
    ("task", &["spawn", "spawn_blocking", "spawn_local"], Kind::Spawn),
    ("async_std", &["spawn"], Kind::Spawn),
    ("smol", &["spawn"], Kind::Spawn),
    ("rayon", &["spawn"], Kind::Spawn),
    ("executor", &["block_on"], Kind::BlockOn),
    ("task", &["block_in_place", "block_on"], Kind::BlockOn),
    ("smol", &["block_on"], Kind::BlockOn),
    ("pollster", &["block_on"], Kind::BlockOn),
];

/// Names that say enough without their module.
const CALLS: [(&str, Kind); 5] = [
    ("sleep", Kind::Sleep),
    ("spawn_blocking", Kind::Spawn),
    ("spawn_local", Kind::Spawn),
    ("block_on", Kind::BlockOn),
    ("block_in_place", Kind::BlockOn),
];

/// The same after a dot: `runtime.block_on(..)`. `.sleep(..)` may be anybody's.
const METHODS: [(&str, Kind); 3] =
    [("spawn_blocking", Kind::Spawn), ("spawn_local", Kind::Spawn), ("block_on", Kind::BlockOn)];

/// Types that make a `static` changeable.
const CELLS: [&str; 9] = [
    "Mutex",
    "RwLock",
    "Cell",
    "RefCell",
    "UnsafeCell",
    "OnceCell",
    "OnceLock",
    "DashMap",
    "ArcSwap",
];

/// Everything in `body` that breaks a rule, in source order.
pub(super) fn scan(body: &TokenStream) -> Vec<Finding> {
    let mut findings = Vec::new();
    Scan::new(body.clone(), false, &mut findings).run();
    findings
}

/// One level of nesting.
struct Scan<'a> {
    tokens: Vec<TokenTree>,
    place: usize,
    in_macro: bool,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Scan<'a> {
    fn new(stream: TokenStream, in_macro: bool, findings: &'a mut Vec<Finding>) -> Self {
        Scan { tokens: stream.into_iter().collect(), place: 0, in_macro, findings }
    }

    fn run(mut self) {
        while let Some(token) = self.tokens.get(self.place).cloned() {
            match token {
                TokenTree::Group(group) => self.enter(&group, self.in_macro),
                TokenTree::Ident(word) => self.word(&word.to_string()),
                // The name of a lifetime is no keyword.
                TokenTree::Punct(quote) if quote.as_char() == '\'' => self.place += 2,
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.place += 1,
            }
        }
    }

    fn enter(&mut self, group: &Group, in_macro: bool) {
        Scan::new(group.stream(), in_macro, self.findings).run();
        self.place += 1;
    }

    /// Reads on from a word.
    fn word(&mut self, word: &str) {
        let after_dot = self.is_punct(self.place.wrapping_sub(1), '.');
        match word {
            "await" if after_dot => self.awaiting(),
            "async" => self.asynchronous(),
            "static" => self.static_item(),
            "thread_local" if self.is_punct(self.place + 1, '!') => {
                self.report(Kind::StaticState, self.place, self.place + 2);
                self.place += 3;
            }
            word if after_dot => self.method(word),
            _ => self.path(),
        }
    }

    fn awaiting(&mut self) {
        let kind = if self.in_macro { Kind::AwaitInMacro } else { Kind::Await };
        self.report(kind, self.place, self.place + 1);
        self.place += 1;
    }

    /// `async {`, `async move {`, `async |x|`, `async fn`
    fn asynchronous(&mut self) {
        let start = self.place;
        self.place += 1;
        if self.is_word(self.place, "move") {
            self.place += 1;
        }
        let end = self.place;
        if self.is_word(end, "fn") || self.is_word(end, "unsafe") {
            // An item: it starts nothing by itself.
            self.skip_to_braces();
        } else if self.braces(end) {
            self.report(Kind::AsyncBlock, start, end);
            self.place += 1;
        } else if self.is_punct(end, '|') {
            self.report(Kind::AsyncBlock, start, end);
            self.skip_expression();
        }
    }

    /// `static NAME: Mutex<u8> = ..;`, `static mut NAME: u8 = ..;`
    fn static_item(&mut self) {
        let start = self.place;
        let mut end = start + 1;
        while end < self.tokens.len() && !self.is_punct(end, ';') && !self.is_punct(end, '=') {
            end += 1;
        }
        let is_mutable = self.is_word(start + 1, "mut");
        let is_item = is_mutable || self.is_punct(start + 2, ':');
        let type_: TokenStream = self.tokens[start + 1..end].iter().cloned().collect();
        if is_item && (is_mutable || has_cell(type_)) {
            self.report(Kind::StaticState, start, start + if is_mutable { 3 } else { 2 });
        }
        self.place = if is_item { end } else { start + 1 };
    }

    /// `.block_on(..)`, `.wait_until(..)`
    fn method(&mut self, word: &str) {
        let found = METHODS.iter().find(|(name, _)| *name == word && self.is_call(self.place + 1));
        match found {
            Some((_, kind)) => self.report_call(*kind, self.place, self.place + 1),
            None => self.step_over_allowed(word),
        }
    }

    /// `tokio::time::sleep(..)`, `sleep(..)`, `join!(..)`
    fn path(&mut self) {
        let start = self.place;
        let mut names = vec![self.text(start)];
        let mut end = start + 1;
        while self.is_punct(end, ':') && self.is_punct(end + 1, ':') && self.is_any_word(end + 2) {
            names.push(self.text(end + 2));
            end += 3;
        }
        if let Some(kind) = kind_of_path(&names) {
            return self.report_call(kind, start, end);
        }
        let is_definition = self.is_word(start.wrapping_sub(1), "fn");
        match CALLS.iter().find(|(name, _)| *name == names[0]) {
            Some((_, kind)) if end == start + 1 && self.is_call(end) && !is_definition => {
                return self.report_call(*kind, start, end);
            }
            _ => {}
        }
        if names.ends_with(&["Handle".into(), "current".into()]) {
            return self.after_current_handle(end);
        }
        self.place = end;
        match self.tokens.get(end + 1) {
            Some(TokenTree::Group(group)) if self.is_punct(end, '!') => {
                let group = group.clone();
                self.place = end + 1;
                self.enter(&group, true);
            }
            _ => {
                self.place = end - 1;
                let last = self.text(end - 1);
                self.step_over_allowed(&last);
            }
        }
    }

    /// `tokio::runtime::Handle::current().spawn(..)`
    fn after_current_handle(&mut self, end: usize) {
        self.place = end + 2;
        if self.is_call(end) && self.is_word(self.place, "spawn") {
            self.report_call(Kind::Spawn, self.place, self.place + 1);
        }
    }

    /// Goes past a name, and past its arguments if async work is allowed in them.
    fn step_over_allowed(&mut self, word: &str) {
        self.place += 1;
        if !ASYNC_IS_ALLOWED.contains(&word) {
            return;
        }
        if self.is_punct(self.place, ':') {
            while self.place < self.tokens.len() && !self.is_call(self.place) {
                self.place += 1;
            }
        }
        if self.is_call(self.place) {
            self.place += 1;
        }
    }

    /// Reports a call and goes past its arguments and an `.await` after it.
    fn report_call(&mut self, kind: Kind, start: usize, end: usize) {
        self.report(kind, start, end);
        self.place = end;
        if self.is_call(end) {
            self.place += 1;
            if self.is_punct(self.place, '.') && self.is_word(self.place + 1, "await") {
                self.place += 2;
            }
        }
    }

    fn report(&mut self, kind: Kind, start: usize, end: usize) {
        let tokens: TokenStream = self.tokens[start..end].iter().cloned().collect();
        let what = text_of(&tokens);
        self.findings.push(Finding { kind, tokens, what });
    }

    fn skip_to_braces(&mut self) {
        while self.place < self.tokens.len() && !self.braces(self.place) {
            self.place += 1;
        }
        self.place += 1;
    }

    fn skip_expression(&mut self) {
        while self.place < self.tokens.len()
            && !self.is_punct(self.place, ';')
            && !self.is_punct(self.place, ',')
        {
            self.place += 1;
        }
    }

    fn text(&self, place: usize) -> String {
        self.tokens.get(place).map(ToString::to_string).unwrap_or_default()
    }

    fn is_any_word(&self, place: usize) -> bool {
        matches!(self.tokens.get(place), Some(TokenTree::Ident(_)))
    }

    fn is_word(&self, place: usize, word: &str) -> bool {
        matches!(self.tokens.get(place), Some(TokenTree::Ident(ident)) if ident == word)
    }

    fn is_punct(&self, place: usize, punct: char) -> bool {
        matches!(self.tokens.get(place), Some(TokenTree::Punct(found)) if found.as_char() == punct)
    }

    /// Whether arguments in parentheses stand here.
    fn is_call(&self, place: usize) -> bool {
        self.is_group(place, Delimiter::Parenthesis)
    }

    fn braces(&self, place: usize) -> bool {
        self.is_group(place, Delimiter::Brace)
    }

    fn is_group(&self, place: usize, delimiter: Delimiter) -> bool {
        matches!(self.tokens.get(place), Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
    }
}

fn kind_of_path(names: &[String]) -> Option<Kind> {
    names.windows(2).find_map(|pair| {
        let is_here = |(module, functions, _): &&(&str, &[&str], Kind)| {
            pair[0] == *module && functions.contains(&pair[1].as_str())
        };
        PATHS.iter().find(is_here).map(|(_, _, kind)| *kind)
    })
}

fn has_cell(type_: TokenStream) -> bool {
    type_.into_iter().any(|token| match token {
        TokenTree::Group(group) => has_cell(group.stream()),
        TokenTree::Ident(ident) => {
            let name = ident.to_string();
            CELLS.contains(&name.as_str()) || name.starts_with("Atomic")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Vec<(Kind, String)> {
        let findings = scan(&body.parse().unwrap());
        findings.into_iter().map(|finding| (finding.kind, finding.what)).collect()
    }

    fn assert_one(body: &str, kind: Kind, what: &str) {
        assert_eq!(found(body), [(kind, what.to_owned())], "{body}");
    }

    #[test]
    fn waiting() {
        assert_one("fetch().await?; Ok(())", Kind::Await, "await");
        assert_one("if x { y.z(a.await) }", Kind::Await, "await");
        assert_one("join!(a.await)", Kind::AwaitInMacro, "await");
        assert_one("let f = async move { a.await };", Kind::AsyncBlock, "async move");
        assert_one("let f = async |x| x.await; x", Kind::AsyncBlock, "async");
        assert_one("rt.block_on(async { 1 })", Kind::BlockOn, "block_on");
        assert_one("futures::executor::block_on(f)", Kind::BlockOn, "futures::executor::block_on");
        assert_one("std::thread::sleep(x)", Kind::Sleep, "std::thread::sleep");
        assert_one("tokio::time::sleep(x).await", Kind::Sleep, "tokio::time::sleep");
        assert_one("sleep(x);", Kind::Sleep, "sleep");
    }

    #[test]
    fn starting() {
        assert_one("tokio::spawn(async { x.await });", Kind::Spawn, "tokio::spawn");
        assert_one("task::spawn_blocking(|| 1);", Kind::Spawn, "task::spawn_blocking");
        assert_one("Handle::current().spawn(async {})", Kind::Spawn, "spawn");
        assert_one("std::thread::spawn(|| {})", Kind::Thread, "std::thread::spawn");
        assert_one("thread::Builder::new()", Kind::Thread, "thread::Builder::new");
    }

    #[test]
    fn remembering() {
        assert_one("static mut N: u8 = 0; N", Kind::StaticState, "static mut N");
        assert_one("static N: AtomicU8 = x;", Kind::StaticState, "static N");
        assert_one("static N: LazyLock<Mutex<u8>> = x;", Kind::StaticState, "static N");
        assert_one("thread_local! { static N: Cell<u8> = x }", Kind::StaticState, "thread_local!");
    }

    #[test]
    fn what_is_allowed() {
        for body in [
            "ctx.wait_until(async move { sleep(x).await; tokio::spawn(y); });",
            "ctx.block_concurrency_while::<_, u8>(async |gate| gate.turn(f).await)",
            "Context::wait_until(ctx, async {})",
            "static NAME: &'static str = \"x\";",
            "static WORDS: LazyLock<Regex> = x;",
            "let sleep = 1; self.sleep(2); fn sleep() {} mod::sleep_less()",
            "async fn later() { x.await }",
            "let x: &'static str = await_less; Command::new(x).spawn()",
            "println!(\"{}.await\", asynchronous)",
            "// x.await",
        ] {
            assert_eq!(found(body), [], "{body}");
        }
    }
}
