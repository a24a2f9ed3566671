//! Making an object ready for a turn: its database open, its schema that of the program, its instance made.
//!
//! The guarantee: a migration or a constructor that fails leaves nothing behind but what was there before, and whoever
//! comes next tries again.

use crate::DurableObject;
use crate::call::{CallError, Failure};
use crate::id::Identity;
use crate::instance::Live;
use crate::instance::events::event;
use crate::instance::turn::{dispose, guarded};
use crate::observe::turns::{self, ObservedTurn, Waiting};
use crate::rpc::Access;
use crate::storage::MigrationRun;

impl<T: DurableObject> Live<T> {
    /// Opens the database if it is not open, and makes the instance if there is none.
    ///
    /// An instance without an open database is one whose last turn, or constructor, deleted all that was stored.
    pub(crate) fn make_ready(&mut self) -> Result<(), Failure> {
        if self.session.is_over() {
            dispose(self.instance.take());
            self.session = self.ctx.object().session();
            if self.ctx.store().has_wish() {
                self.ctx.reset_store();
            }
        }
        if !self.ctx.store().is_active() {
            self.open()?;
        }
        if self.instance.is_some() {
            return Ok(());
        }
        // The last step: it may have closed the gate, whose code must not outlive an activation that fails. If it has
        // deleted all that was stored, the next turn opens the database.
        self.construct()
    }

    /// Opens the database and runs the migrations that it has not had.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let method = "migration";
        let _on_post = self.take_post(method);
        let mut runs = Vec::new();
        let opened = guarded(|| self.ctx.activate_store(&mut runs));
        let failure = match opened {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(CallError::Activation(error)),
            Err(message) => Some(CallError::Panicked { method, message }),
        };
        let identity = self.ctx.identity();
        let is_told = runs.iter().any(|run| tell_migration(identity, run, failure.as_ref()));
        let Some(failure) = failure else { return Ok(()) };
        if !is_told {
            event!(error, identity, reason = %failure, "an object could not be opened");
        }
        self.ctx.reset_store();
        // The log has the object in fields of its own.
        Err(match failure {
            CallError::Activation(error) => {
                CallError::Activation(error.context(self.ctx.object().label()))
            }
            failure => failure,
        })
    }

    /// Runs the constructor, as a turn.
    fn construct(&mut self) -> Result<(), Failure> {
        let method = "new";
        let _on_post = self.take_post(method);
        let observed = ObservedTurn::begin(self.ctx.identity(), method, &Waiting::not(), false);
        let constructed = {
            let _inside = observed.enter();
            self.construct_observed(&observed)
        };
        observed.end(turns::outcome_of(&constructed));
        constructed
    }

    fn construct_observed(&mut self, observed: &ObservedTurn) -> Result<(), Failure> {
        self.ctx.begin_turn(Access::Write);
        let constructed = guarded(|| T::construct(&self.ctx));
        observed.code_returned();
        if let Some(reset) = self.reset_meanwhile() {
            self.roll_back();
            self.keep_wish();
            dispose(constructed);
            return Err(reset);
        }
        let failure = match constructed {
            Ok(Ok(instance)) => match self.commit() {
                Ok(()) => {
                    self.instance = Some(instance);
                    self.ctx.object().set_resident(true);
                    return Ok(());
                }
                Err(failure) => {
                    dispose(instance);
                    failure
                }
            },
            Ok(Err(error)) => {
                self.roll_back();
                CallError::Activation(error.context("the constructor failed"))
            }
            Err(message) => {
                self.roll_back();
                CallError::Panicked { method: "new", message }
            }
        };
        event!(error, self.ctx.identity(), reason = %failure, "an object could not be constructed");
        Err(failure)
    }
}

/// Tells the log of a migration; whether it has failed.
fn tell_migration(identity: &Identity, run: &MigrationRun, failure: Option<&Failure>) -> bool {
    let (from, to, migration) = (run.number - 1, run.number, run.name);
    match (run.took, failure) {
        (Some(duration), _) => {
            event!(info, identity, from, to, migration, ?duration, "a migration was applied");
            false
        }
        (None, failure) => {
            let (duration, reason) = (run.begun.elapsed(), failure.map(tracing::field::display));
            event!(error, identity, from, to, migration, ?duration, reason, "a migration failed");
            true
        }
    }
}
