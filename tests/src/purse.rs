//! Purses that pay each other, and write down what they have paid and what they were paid.

use durable::Error;
use durable::prelude::*;

/// What every purse begins with.
pub const BEGIN: i64 = 1_000;

/// A payment as both sides know it: who pays, its number there, and how much.
pub type Payment = (String, i64, i64);

/// Holds money.
#[derive(Debug, Default)]
pub struct Purse;

/// All that a purse knows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// Its money.
    pub balance: i64,
    /// What it has paid, by receiver.
    pub paid: Vec<(String, Payment)>,
    /// What it was paid, in order.
    pub received: Vec<Payment>,
    /// Messages on their way.
    pub pending: u64,
    /// Messages that were given up.
    pub dead: u64,
}

#[durable_object]
impl Purse {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE purse (balance INTEGER NOT NULL); INSERT INTO purse VALUES (1000);
             CREATE TABLE paid (number INTEGER PRIMARY KEY, receiver TEXT NOT NULL, amount INTEGER NOT NULL);
             CREATE TABLE received (id INTEGER PRIMARY KEY, payer TEXT NOT NULL, number INTEGER NOT NULL,
                 amount INTEGER NOT NULL)",
        )
    }

    /// Pays another purse; gives the payment's number.
    pub fn pay(&mut self, ctx: &Context, receiver: &str, amount: i64) -> Result<i64> {
        let payer = ctx.name().ok_or_else(|| Error::other("a purse has a name"))?;
        ctx.sql().execute("UPDATE purse SET balance = balance - ?", [amount])?;
        let insert = "INSERT INTO paid (receiver, amount) VALUES (?, ?) RETURNING number";
        let number = ctx.sql().query_one(insert, (receiver, amount))?;
        let receiver = ctx.namespace::<Purse>().get_by_name(receiver);
        ctx.send(receiver.receive(payer.to_owned(), number, amount))?;
        Ok(number)
    }

    /// Is paid.
    pub fn receive(
        &mut self,
        ctx: &Context,
        payer: String,
        number: i64,
        amount: i64,
    ) -> Result<()> {
        ctx.sql().execute("UPDATE purse SET balance = balance + ?", [amount])?;
        let insert = "INSERT INTO received (payer, number, amount) VALUES (?, ?, ?)";
        ctx.sql().execute(insert, (payer, number, amount))?;
        Ok(())
    }

    /// All that it knows.
    pub fn account(&self, ctx: &Context) -> Result<Account> {
        let payer = ctx.name().unwrap_or_default().to_owned();
        let paid: Vec<(String, i64, i64)> =
            ctx.sql().query_all("SELECT receiver, number, amount FROM paid ORDER BY number", [])?;
        let paid = paid.into_iter();
        Ok(Account {
            balance: ctx.sql().query_one("SELECT balance FROM purse", [])?,
            paid: paid.map(|(to, number, amount)| (to, (payer.clone(), number, amount))).collect(),
            received: ctx
                .sql()
                .query_all("SELECT payer, number, amount FROM received ORDER BY id", [])?,
            pending: ctx.pending_messages()?,
            dead: ctx.dead_letters()?.len() as u64,
        })
    }
}
