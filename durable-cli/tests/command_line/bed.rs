//! A data directory with objects, and the command line run on it: offline, or with a program that serves the admin API.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use durable::prelude::*;
use durable::{Error, Every};
use tempfile::TempDir;

/// A chat room, which knows by heart how many posts it has.
pub struct Room {
    posts: u64,
}

#[durable_object]
impl Room {
    #[migration(1)]
    fn posts(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)",
        )
    }

    pub fn post(&mut self, ctx: &Context, who: String, text: String) -> Result<u64> {
        self.posts += 1;
        ctx.sql().query_one("INSERT INTO posts (who, text) VALUES (?, ?) RETURNING id", (who, text))
    }

    fn new(ctx: &Context<Self>) -> Result<Self> {
        Ok(Room { posts: ctx.sql().query_one("SELECT count(*) FROM posts", [])? })
    }

    pub fn posts_so_far(&self) -> Result<u64> {
        Ok(self.posts)
    }

    pub fn name_it(&mut self, ctx: &Context, title: String) -> Result<()> {
        ctx.kv().put("title", &title)?;
        ctx.kv()
            .put("limits", &std::collections::BTreeMap::from([("guests", 20), ("posts", 1_000)]))
    }

    pub fn close_later(&mut self, ctx: &Context) -> Result<()> {
        ctx.set_alarm(After(Duration::from_hours(24)))
    }

    pub fn tidy_daily(&mut self, ctx: &Context<Self>) -> Result<()> {
        ctx.schedule("tidy", Every(Duration::from_hours(24)), ctx.this().tidy()).map(drop)
    }

    pub fn tidy(&mut self, ctx: &Context) -> Result<()> {
        self.posts = 0;
        ctx.sql().execute("DELETE FROM posts", []).map(drop)
    }

    fn alarm(&mut self, ctx: &Context<Self>, _: AlarmInfo) -> Result<()> {
        ctx.kv().put("closed", &true)
    }
}

/// Counts. One that is called `broken` cannot be started once it is stored.
#[derive(Default)]
pub struct Counter;

impl Counter {
    fn refuse(ctx: &Context) -> Result<()> {
        let is_broken = ctx.kv().get::<u64>("broken")?.is_some();
        if is_broken { Err(Error::other("it was never meant to be")) } else { Ok(()) }
    }
}

#[durable_object]
impl Counter {
    fn new(ctx: &Context<Self>) -> Result<Self> {
        Counter::refuse(ctx)?;
        Ok(Counter)
    }

    pub fn increment(&mut self, ctx: &Context) -> Result<u64> {
        let count = ctx.kv().get::<u64>("count")?.unwrap_or_default() + 1;
        ctx.kv().put("count", &count)?;
        Ok(count)
    }

    pub fn break_it(&mut self, ctx: &Context) -> Result<()> {
        ctx.kv().put("broken", &1)
    }
}

/// A folder with a data directory.
pub struct Bed {
    folder: TempDir,
}

/// How the command line ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bed {
    pub fn new() -> Bed {
        Bed { folder: tempfile::Builder::new().prefix("d").tempdir().unwrap() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A program.
    pub async fn program(&self) -> Runtime {
        let builder = Runtime::builder(self.data()).idle_limit(Duration::MAX);
        builder.register::<Room>().register::<Counter>().start().await.unwrap()
    }

    /// A program that is asked by its socket.
    pub async fn served(&self) -> Runtime {
        let runtime = self.program().await;
        durable::admin::serve(&runtime).start().await.unwrap();
        runtime
    }

    /// Runs the command line on the data directory, in the folder where it lies.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_durable"));
        command.args(arguments).env("DURABLE_DATA", "data");
        self.run_command(command).await
    }

    /// Runs a line of a shell there.
    pub async fn run_line(&self, line: &str) -> Ended {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_durable"));
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", binary.parent().unwrap().display());
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("DURABLE_DATA", "./data").env("PATH", path);
        self.run_command(command).await
    }

    async fn run_command(&self, mut command: Command) -> Ended {
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let run = move || command.output().unwrap();
        let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// Runs it and expects it to end well.
    pub async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// The same, for its JSON.
    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.done(&[&["--json"], arguments].concat()).await;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{out}: {error}"))
    }
}

/// Fills a program with what the page shows.
pub async fn fill(runtime: &Runtime) -> Result<()> {
    let lobby = runtime.get::<Room>("lobby");
    lobby.name_it("The lobby".into()).await?;
    lobby.post("Ada".into(), "hello".into()).await?;
    lobby.post("Grace".into(), "hi, Ada".into()).await?;
    lobby.close_later().await?;
    lobby.tidy_daily().await?;
    runtime.get::<Room>("team/blue").name_it("Blue".into()).await?;
    for _ in 0..3 {
        runtime.get::<Counter>("visits").increment().await?;
    }
    Ok(())
}
