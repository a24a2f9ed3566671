//! Kills the program in the middle of its transfers, again and again on one data directory, and
//! asks afterwards where every cent is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fastrand::Rng;
use tempfile::tempdir;

/// How often the program is killed.
const KILLS: u64 = 8;

/// Few accounts, so that each has many transfers on their way.
const ACCOUNTS: usize = 6;

/// The program, with its data in `directory`.
fn bank(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.arg("--data").arg(directory);
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}

/// A transfer as the program tells of it: id, sender, receiver, amount and ending.
type Told = [String; 5];

/// Starts a simulation, kills it after it has told of `lines` transfers, and gives all it told of.
fn simulate_and_kill(directory: &Path, seed: u64, lines: usize) -> Vec<Told> {
    let mut simulation = bank(directory);
    simulation.args(["simulate", "--print", "--transfers", "1000000000"]);
    simulation.arg(format!("--accounts={ACCOUNTS}")).arg(format!("--seed={seed}"));
    let mut child = simulation.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        assert!(out.read_line(&mut text).unwrap() > 0, "it ended by itself after {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut text).unwrap();
    // The last line may be cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(parse).collect()
}

fn parse(line: &str) -> Told {
    let mut words = line.splitn(5, ' ').map(str::to_owned);
    std::array::from_fn(|_| words.next().unwrap_or_else(|| panic!("{line}")))
}

/// A line of a statement: the amount in cents, the balance after it, and what it was for.
struct Line {
    amount: i64,
    balance: i64,
    entry: String,
}

/// The whole statement of an account, the oldest first.
fn statement(directory: &Path, account: &str) -> Vec<Line> {
    let text = run(bank(directory).args(["statement", account, "--limit", "4000000000"]));
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let _number: u64 = words.next()?.parse().ok()?;
        let (amount, balance) = (words.nth(2)?, words.next()?);
        let entry = words.collect::<Vec<_>>().join(" ");
        Some(Line { amount: cents(amount), balance: cents(balance), entry })
    };
    let mut lines: Vec<_> = text.lines().filter_map(line).collect();
    lines.reverse();
    lines
}

fn cents(text: &str) -> i64 {
    text.replace([',', '.'], "").parse().unwrap()
}

/// The amounts of each entry, by account and text. Checks that the statements add up, too.
fn check_statements(directory: &Path) -> HashMap<(String, String), Vec<i64>> {
    let (mut entries, mut deposits, mut balances) = (HashMap::<_, Vec<_>>::new(), 0, 0);
    for number in 1..=ACCOUNTS {
        let account = format!("sim-{number}");
        let mut sum = 0;
        for Line { amount, balance, entry } in statement(directory, &account) {
            sum += amount;
            assert_eq!(balance, sum, "{account}: {entry}");
            assert!(balance >= 0, "{account}: {entry}");
            assert!(!entry.contains("on its way"), "{account}: {entry}");
            if entry == "deposit" {
                deposits += amount;
            }
            entries.entry((account.clone(), entry)).or_default().push(amount);
        }
        balances += sum;
    }
    assert_eq!(balances, deposits, "money was made or lost");
    entries
}

#[test]
fn no_kill_makes_or_loses_money_or_forgets_a_transfer() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let mut all = Vec::new();
    for seed in 0..KILLS {
        // The first time, before it has said anything.
        let lines = if seed == 0 { 0 } else { Rng::with_seed(seed).usize(1..600) };
        all.extend(simulate_and_kill(directory, seed, lines));
        let audit = run(bank(directory).arg("audit"));
        assert!(audit.contains("right to the cent"), "seed {seed}, {lines} lines: {audit}");
    }
    let entries = check_statements(directory);
    for [id, sender, receiver, amount, ending] in &all {
        let amount = cents(amount);
        let taken = entries.get(&(sender.clone(), format!("{id} to {receiver}")));
        let added = entries.get(&(receiver.clone(), format!("{id} from {sender}")));
        let (taken, added) = (taken.map(Vec::as_slice), added.map(Vec::as_slice));
        if ending == "settled" {
            assert_eq!((taken, added), (Some(&[-amount][..]), Some(&[amount][..])), "{id}");
        } else {
            assert_eq!((taken, added), (None, None), "{id} {ending}");
        }
    }
    assert!(
        all.iter().filter(|[.., ending]| ending == "settled").count() > 100,
        "little was tried"
    );
}

#[test]
fn the_commands_do_what_their_help_says() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let bank = |line: &str| bank(directory).args(line.split(' ')).output().unwrap();
    let said = |line: &str, expected: &str| {
        let output = bank(line);
        assert_eq!(output.status.success(), !expected.starts_with("bank: "), "{line}");
        assert!(told(&output).starts_with(expected), "{line}: {}", told(&output));
    };
    said("accounts", "no accounts yet");
    said("deposit alice 1", "bank: there is no account \"alice\"");
    said("open alice", "alice is open\n");
    said("open bob", "bob is open\n");
    said("open al/ice", "bank: \"al/ice\" is no name of an account");
    said("deposit alice 100", "alice has 100.00\n");
    said("withdraw alice 0.5", "alice has 99.50\n");
    let order = "transfer alice bob 12.50 --id 00000000000000ff";
    for _ in 0..2 {
        said(order, "bob has received 12.50 from alice (transfer 00000000000000ff)\n");
    }
    said(
        "transfer alice bob 1 --id 00000000000000ff",
        "bank: 00000000000000ff is the id of another",
    );
    said("transfer alice bob 1000", "bank: \"alice\" has 87.00, which is less than 1,000.00\n");
    said("close bob", "bank: \"bob\" cannot be closed: it still has 12.50\n");
    said("withdraw bob 12.50", "bob has 0.00\n");
    said("close bob", "bob is closed\n");
    let refused = bank("transfer alice bob 1 --id 0000000000000001");
    assert_eq!(refused.status.code(), Some(1));
    let expected =
        "alice has its 1.00 back (transfer 0000000000000001): the account \"bob\" is closed\n";
    assert_eq!(told(&refused), expected);
    let statement = told(&bank("statement alice --limit 2"));
    assert!(statement.contains("0000000000000001 back from bob (closed)\n"), "{statement}");
    assert!(statement.ends_with("older entries: bank statement alice --before 4\n"), "{statement}");
    let audit = told(&bank("audit"));
    assert!(audit.ends_with("right to the cent: 2 accounts, 7 entries\n"), "{audit}");
    for amount in ["0", "1.234", "x"] {
        assert_eq!(bank(&format!("deposit alice {amount}")).status.code(), Some(2), "{amount}");
    }
}
