//! `kill -9` while objects are changed and restored, at random points: each object is what it was before or after the last thing
//! that was done to it, and at every bookmark what it was then.
//!
//! `DURABLE_CRASH_ROUNDS=200 cargo test --release -p durable-tests --test history_crash` is the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use durable::{Bookmark, Runtime};
use durable_tests::ledger::Ledger;
use durable_tests::random::Random;
use durable_tests::{Bed, Form};

const OBJECTS: usize = 6;
/// Bookmarks of each object that the next process is told.
const TOLD: usize = 10;
/// Bookmarks that are looked up after each kill.
const LOOKED_UP: usize = 8;

type Numbers = BTreeSet<i64>;

/// What one object must be.
#[derive(Clone, Debug, Default)]
struct Model {
    now: Numbers,
    /// What the thing that was begun last would make of it, if it was not ended.
    next: Option<Numbers>,
    then: BTreeMap<Bookmark, Numbers>,
}

impl Model {
    fn bookmark(&self, random: &mut Random) -> Option<(Bookmark, &Numbers)> {
        let at = random.index(self.then.len().max(1));
        self.then.iter().nth(at).map(|(bookmark, numbers)| (*bookmark, numbers))
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Takes a line of the load into the models. The last one may be cut by the kill.
fn note(models: &mut [Model], line: &str) -> Option<()> {
    let mut words = line.split(' ');
    let verb = words.next()?;
    let model = models.get_mut(words.next()?.parse::<usize>().ok()?)?;
    let argument = words.next()?;
    match verb {
        "enter" => {
            let mut next = model.now.clone();
            next.insert(argument.parse().ok()?);
            model.next = Some(next);
        }
        "restore" => model.next = Some(model.then[&argument.parse().ok()?].clone()),
        "entered" => {
            let bookmark = argument.parse().ok()?;
            model.now = model.next.take()?;
            model.then.insert(bookmark, model.now.clone());
        }
        "restored" => {
            let (undo, bookmark) = (argument.parse().ok()?, words.next()?.parse().ok()?);
            model.then.insert(undo, model.now.clone());
            model.now = model.next.take()?;
            model.then.insert(bookmark, model.now.clone());
        }
        _ => return None,
    }
    Some(())
}

/// Lets the load run until it has said so much, and kills it.
fn run_and_kill(directory: &Path, models: &mut [Model], random: &mut Random, lines_max: u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_history-load"))
        .arg(directory)
        .args([random.below(1 << 40).to_string(), OBJECTS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for (object, model) in models.iter().enumerate() {
        for _ in 0..TOLD {
            let Some((bookmark, _)) = model.bookmark(random) else { continue };
            writeln!(input, "{object} {bookmark}").unwrap();
        }
    }
    drop(input);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..lines_max {
        let line = lines.next().expect("the load runs until it is killed").unwrap();
        note(models, &line).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still printed before the kill was done, too.
    for line in lines {
        let _ = note(models, &line.unwrap_or_default());
    }
}

/// Compares the objects with the models, now and at some of their bookmarks.
async fn audit(bed: &Bed, models: &mut [Model], random: &mut Random) {
    let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
    for (object, model) in models.iter_mut().enumerate() {
        let now = read(&runtime, object).await;
        let next = model.next.take();
        assert!(now == model.now || Some(&now) == next.as_ref(), "object {object} is neither");
        model.now = now;
    }
    for _ in 0..LOOKED_UP {
        let object = random.index(OBJECTS);
        let model = &mut models[object];
        let Some((bookmark, then)) = model.bookmark(random) else { continue };
        let then = then.clone();
        let ledgers = runtime.namespace::<Ledger>();
        let id = ledgers.id_from_name(&object.to_string()).unwrap();
        let undo = ledgers.restore(&id, &bookmark).await.unwrap();
        assert_eq!(read(&runtime, object).await, then, "object {object} at {bookmark}");
        model.then.insert(undo, std::mem::replace(&mut model.now, then));
    }
    runtime.shutdown().await.unwrap();
}

async fn read(runtime: &Runtime, object: usize) -> Numbers {
    runtime.get::<Ledger>(&object.to_string()).audit().await.unwrap().into_iter().collect()
}

#[test]
fn an_object_is_what_it_was_then_whenever_the_process_was_killed() {
    let rounds = setting("DURABLE_CRASH_ROUNDS", 6);
    let seed = setting("DURABLE_SEED", 0x5eed);
    println!("{rounds} rounds, seed {seed}");
    let mut random = Random::new(seed);
    let bed = Bed::new(Form::Moved);
    let mut models = vec![Model::default(); OBJECTS];
    for _ in 0..rounds {
        let lines_max = random.below(400);
        run_and_kill(bed.path(), &mut models, &mut random, lines_max);
        durable_tests::on_one_thread(audit(&bed, &mut models, &mut random));
    }
    let bookmarks: usize = models.iter().map(|model| model.then.len()).sum();
    println!("{bookmarks} bookmarks");
}
