//! The lines of `docs/http.md` that begin with `$ curl`, run as they stand there.

use std::path::Path;
use std::process::Command;

use durable::http::{Expose, router};
use durable::prelude::*;
use durable_tests::{Bed, Form};

use crate::bed::Server;

/// The counter of the page.
#[derive(Default)]
struct Counter;

#[durable_object]
impl Counter {
    pub fn increment(&mut self, ctx: &Context, by: i64, note: Option<String>) -> Result<i64> {
        if let Some(note) = note {
            ctx.kv().put("note", &note)?;
        }
        let total = self.total(ctx)? + by;
        ctx.kv().put("total", &total)?;
        Ok(total)
    }

    pub fn total(&self, ctx: &Context) -> Result<i64> {
        Ok(ctx.kv().get("total")?.unwrap_or_default())
    }

    pub fn reset(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()
    }

    fn fetch(&mut self, ctx: &Context<Self>, request: Request) -> Result<Response> {
        let text = format!("{} {}: {}\n", request.method(), request.uri(), self.total(ctx)?);
        Ok(Response::new(text.into()))
    }
}

/// Each command with what the page says it prints.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut shown = false;
    for line in page.lines() {
        match line {
            "```console" => shown = true,
            "```" => shown = false,
            _ if !shown => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), String::new())),
                None => commands.last_mut().unwrap().1 += line,
            },
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_page_do_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md");
    let page = std::fs::read_to_string(page).unwrap();
    let bed = Bed::new(Form::Moved);
    let runtime = bed.builder().register::<Counter>().start().await.unwrap();
    let objects = router(&runtime)
        .expose::<Counter>(Expose::Methods(&["increment", "total"]))
        .expose::<Counter>(Expose::Fetch)
        .build()
        .unwrap();
    let server = Server::start(&runtime, axum::Router::new().nest("/objects", objects)).await;
    let commands = commands(&page);
    assert!(commands.len() > 10, "{commands:?}");
    for (command, printed) in commands {
        // Only where it listens is another place.
        let here = command.replace("127.0.0.1:8080", &server.address.to_string());
        let run = move || Command::new("sh").args(["-c", &here]).output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim_end(), printed, "{command}");
    }
}

/// The page shows the counter that is tested here.
#[test]
fn the_page_shows_this_counter() {
    let page = include_str!("../../../docs/http.md");
    let lines = page.lines().map(str::trim).collect::<Vec<_>>();
    let own = include_str!("curl.rs");
    let own = own.split("impl Counter {").nth(1).unwrap().split("\n}").next().unwrap();
    for line in own.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(lines.contains(&line), "the page does not have: {line}");
    }
}
