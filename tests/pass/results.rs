//! Every way to name what a method returns.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub enum BankError {
    Empty,
    Storage(durable::Error),
}

impl From<durable::Error> for BankError {
    fn from(error: durable::Error) -> Self {
        BankError::Storage(error)
    }
}

type BankResult<T> = std::result::Result<T, BankError>;

#[derive(Default)]
pub struct Bank;

#[durable_object]
impl Bank {
    pub fn own(&mut self) -> Result<u8, BankError> {
        Err(BankError::Empty)
    }

    pub fn alias(&mut self) -> BankResult<Vec<u8>> {
        Ok(vec![])
    }

    pub fn usual(&mut self) -> durable::Result<()> {
        Ok(())
    }

    pub fn standard(&mut self) -> std::result::Result<u8, String> {
        Ok(1)
    }

    pub fn maybe(&self) -> Option<Result<u8>> {
        None
    }
}

fn callers(stub: &BankStub) {
    let _: durable::Call<Bank, u8, BankError> = stub.own();
    let _: durable::Call<Bank, Vec<u8>, BankError> = stub.alias();
    let _: durable::Call<Bank, (), durable::Error> = stub.usual();
    let _: durable::Call<Bank, u8, String> = stub.standard();
    let _: durable::Call<Bank, Option<Result<u8>>, std::convert::Infallible> = stub.maybe();
}
