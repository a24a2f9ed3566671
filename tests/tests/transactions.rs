//! Transactions in a turn, lists, deletion and unconfirmed turns, as a program sees them.

use durable::prelude::*;
use durable::{Body, Error, KvRange, Rollback};
use durable_tests::matrix;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    Poor { has: i64 },
    Storage(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Storage(error.to_string())
    }
}

#[derive(Default)]
struct Ledger {
    turns: u32,
}

#[durable_object]
impl Ledger {
    #[migration(1)]
    fn create_log(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE log (account TEXT NOT NULL, change INTEGER NOT NULL)")
    }

    pub fn change(&mut self, ctx: &Context, account: &str, by: i64) -> Result<i64, Refusal> {
        ctx.sql().execute("INSERT INTO log VALUES (?, ?)", (account, by))?;
        let has = ctx.kv().get::<i64>(account)?.unwrap_or(0);
        if has + by < 0 {
            return Err(Refusal::Poor { has });
        }
        ctx.kv().put(account, &(has + by))?;
        Ok(has + by)
    }

    /// Takes from all that can pay, and says who cannot.
    pub fn collect(&mut self, ctx: &Context, by: i64) -> Result<Vec<String>> {
        let mut refused = Vec::new();
        for account in ctx.kv().keys(..)? {
            let account = account?;
            match ctx.transaction(|| self.change(ctx, &account, -by)) {
                Ok(_) => {}
                Err(Refusal::Poor { .. }) => refused.push(account),
                Err(Refusal::Storage(text)) => return Err(Error::other(text)),
            }
        }
        Ok(refused)
    }

    pub fn rehearse(&mut self, ctx: &Context, account: &str, by: i64) -> Result<i64, Refusal> {
        ctx.transaction(|| Rollback(self.change(ctx, account, by)))?
    }

    pub fn accounts(&self, ctx: &Context, prefix: &str) -> Result<Vec<(String, i64)>> {
        ctx.kv().list(KvRange::prefix(prefix))?.collect()
    }

    pub fn log(&self, ctx: &Context) -> Result<Vec<(String, i64)>> {
        ctx.sql().query_all("SELECT account, change FROM log", [])
    }

    pub fn close(&mut self, ctx: &Context, keep: Option<i64>) -> Result<()> {
        self.turns += 1;
        ctx.delete_all()?;
        keep.map_or(Ok(()), |keep| ctx.kv().put("kept", &keep))
    }

    pub fn close_and_fail(&mut self, ctx: &Context) -> Result<()> {
        ctx.delete_all()?;
        Err(Error::other("on purpose"))
    }

    pub fn closed(&self) -> u32 {
        self.turns
    }

    pub fn note(&mut self, ctx: &Context) -> Result<()> {
        ctx.allow_unconfirmed();
        ctx.kv().put("noted", &1)
    }

    async fn fetch(this: Handle<Self>, _: Request) -> Result<Response> {
        let before = this.turn_unconfirmed(|ledger, ctx| ledger.change(ctx, "a", 1)).await;
        this.sync().await?;
        let after = this.turn_unconfirmed(|ledger, ctx| ledger.change(ctx, "a", 1)).await;
        Ok(Response::new(Body::from(format!("{before:?} {after:?}"))))
    }
}

matrix! {
    async fn a_level_is_undone_alone(bed) {
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        let ledger = runtime.get::<Ledger>("bank");
        for (account, by) in [("a/1", 5), ("a/2", 1), ("b", 3)] {
            ledger.change(account, by).await.unwrap();
        }
        assert_eq!(ledger.rehearse("b", -3).await.unwrap(), 0);
        let refused = ledger.rehearse("b", -4).await.unwrap_err();
        assert_eq!(refused, CallError::Application(Refusal::Poor { has: 3 }));
        assert_eq!(ledger.collect(3).await.unwrap(), ["a/2"]);
        let accounts = ledger.accounts("a/").await.unwrap();
        assert_eq!(accounts, [("a/1".to_owned(), 2), ("a/2".to_owned(), 1)]);
        let log = ledger.log().await.unwrap();
        assert_eq!(log.len(), 5, "{log:?}");
    }

    async fn a_deleted_object_has_no_file_and_can_be_written_again(bed) {
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        let ledger = runtime.get::<Ledger>("bank");
        ledger.change("a", 5).await.unwrap();
        ledger.close_and_fail().await.unwrap_err();
        assert_eq!(ledger.accounts("").await.unwrap().len(), 1);
        ledger.close(Some(7)).await.unwrap();
        assert_eq!(ledger.accounts("").await.unwrap(), [("kept".to_owned(), 7)]);
        assert_eq!(ledger.log().await.unwrap(), []);
        ledger.close(None).await.unwrap();
        assert_eq!(ledger.closed().await.unwrap(), 2, "the instance stays");
        assert_eq!(ledger.accounts("").await.unwrap(), []);
        assert_eq!(ledger.log().await.unwrap(), []);
        runtime.shutdown().await.unwrap();
        assert_eq!(bed.object_files(), Vec::<std::path::PathBuf>::new());

        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        let ledger = runtime.get::<Ledger>("bank");
        assert_eq!(ledger.accounts("").await.unwrap(), []);
        assert_eq!(ledger.change("a", 2).await.unwrap(), 2);
        runtime.shutdown().await.unwrap();
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        assert_eq!(runtime.get::<Ledger>("bank").accounts("").await.unwrap(), [("a".to_owned(), 2)]);
    }

    async fn unconfirmed_turns_are_turns(bed) {
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        let ledger = runtime.get::<Ledger>("bank");
        ledger.note().await.unwrap();
        let response = ledger.fetch(Request::new(Body::empty())).await.unwrap();
        let text = response.into_body().collect_up_to(100).await.unwrap();
        assert_eq!(&text[..], b"Ok(1) Ok(2)");
        runtime.shutdown().await.unwrap();
        let runtime = bed.builder().register::<Ledger>().start().await.unwrap();
        assert_eq!(runtime.get::<Ledger>("bank").accounts("").await.unwrap().len(), 2);
    }
}
