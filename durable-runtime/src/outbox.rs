//! Messages from one object to another, as its turns see them.

use crate::message::Message;
use crate::storage::{DeadLetter, millis};
use crate::{Call, Context, DurableObject, Result, When};

/// # Messages
///
/// A turn cannot await a call of another object, but it can *send* it: the call is stored with the turn, and made
/// once the turn is durable. It is never lost and has its effect once, whatever crashes: the receiver stores the
/// note that it has had a message together with what the message did. Messages to one receiver arrive in the order in which they were sent.
///
/// ```
/// # use durable_runtime::{Call, Context, DurableObject, Result};
/// /// `deposit` is `bank.get_by_name("bob").deposit(5)`.
/// fn transfer<Account: DurableObject>(ctx: &Context, deposit: Call<Account, i64>) -> Result<()> {
///     ctx.sql().execute("UPDATE account SET balance = balance - 5", [])?;
///     ctx.send(deposit)
/// }
/// ```
///
/// What the method returns is dropped. If it fails (its own `Err`, a panic) what it wrote is undone, and the message becomes a *dead letter* of
/// the sender: see [`dead_letters`](Context::dead_letters). A receiver that cannot be reached (it cannot be activated, its queue is full) is
/// tried again for 7 days, with waits of 1, 2, 4 … up to 512 seconds; the next message to it goes when the first is given up.
///
/// Arguments are stored as MessagePack with field names, so a newer version of the program may read them by serde's rules.
impl Context {
    /// Sends a call to another object, or to this one, with this turn.
    ///
    /// # Errors
    /// [`ErrorKind::Encoding`](crate::ErrorKind::Encoding) when the arguments cannot be stored,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such class or the stub's name was not usable,
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a call to another runtime's object or of no business method,
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) in a read-only method, and when storage fails.
    pub fn send<T, R, E>(&self, call: Call<T, R, E>) -> Result<()>
    where
        T: DurableObject,
        R: Send + 'static,
        E: Send + 'static,
    {
        let message = self.message(call)?;
        self.store().post(&message, millis(self.now()), None)
    }

    /// Sends a call not before a time: it takes its place in the order of messages when the time has come.
    ///
    /// # Errors
    /// As [`send`](Context::send), and for a time as [`set_alarm`](Context::set_alarm).
    pub fn send_at<T, R, E>(&self, when: impl Into<When>, call: Call<T, R, E>) -> Result<()>
    where
        T: DurableObject,
        R: Send + 'static,
        E: Send + 'static,
    {
        let message = self.message(call)?;
        let due = when.into().due(|| self.now())?;
        self.store().post(&message, millis(self.now()), Some(due))
    }

    /// How many messages of this object no receiver has confirmed yet, those for later included.
    ///
    /// # Errors
    /// When storage fails.
    pub fn pending_messages(&self) -> Result<u64> {
        self.store().pending_messages()
    }

    /// The messages of this object that were given up, oldest first, at most 1,000 of them. They stay until they are sent again or deleted.
    ///
    /// # Errors
    /// When storage fails.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        self.store().dead_letters(1_000)
    }

    /// Sends a dead letter again, as a new message. `false` if there is none with this id.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) in a read-only method, and when storage fails.
    pub fn resend_dead_letter(&self, id: i64) -> Result<bool> {
        self.store().resend_dead_letter(id, millis(self.now()))
    }

    /// Deletes a dead letter. `false` if there is none with this id.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`](crate::ErrorKind::ReadOnly) in a read-only method, and when storage fails.
    pub fn delete_dead_letter(&self, id: i64) -> Result<bool> {
        self.store().delete_dead_letter(id)
    }

    pub(crate) fn message<T, R, E>(&self, call: Call<T, R, E>) -> Result<Message>
    where
        T: DurableObject,
        R: Send + 'static,
        E: Send + 'static,
    {
        call.into_message(self.node())
    }
}
