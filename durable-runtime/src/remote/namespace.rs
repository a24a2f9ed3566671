//! The objects of one class on a server.

use std::fmt;
use std::marker::PhantomData;

use super::{Remote, RemoteAddress};
use crate::id::{RawId, check_name};
use crate::stub::RawStub;
use crate::{DurableObject, Error, ErrorKind, ObjectId, Result};

/// The objects of class `T` on a server: makes stubs of them, as [`Namespace`](crate::Namespace) does of those in this process.
///
/// A name becomes an id here as it does there, by the name under which the class was first registered; a class that was renamed says that
/// by `renamed_from`. Calls to an object with a name go by its name.
pub struct RemoteNamespace<T: DurableObject> {
    remote: Remote,
    marker: PhantomData<fn() -> T>,
}

impl<T: DurableObject> RemoteNamespace<T> {
    /// The objects that `remote` leads to.
    #[doc(hidden)]
    pub fn new(remote: Remote) -> Self {
        RemoteNamespace { remote, marker: PhantomData }
    }

    fn key() -> &'static str {
        T::FORMER_CLASSES.first().copied().unwrap_or(T::CLASS)
    }

    /// The id that belongs to `name`: always the same.
    ///
    /// # Errors
    /// When the name is empty or has more than 1,024 bytes.
    pub fn id_from_name(&self, name: &str) -> Result<ObjectId<T>> {
        check_name(name)?;
        Ok(ObjectId::new(RawId::from_name(Self::key(), None, name), Some(name.into())))
    }

    /// Reads an id from its 64 hex digits.
    ///
    /// # Errors
    /// When it is not 64 hex digits, is the id of another class, or is mistyped.
    pub fn id_from_string(&self, text: &str) -> Result<ObjectId<T>> {
        let id: ObjectId<T> = ObjectId::new(text.parse()?, None);
        if id.raw().belongs_to(Self::key()) {
            return Ok(id);
        }
        let message = format!("{id} is not an id of class `{}`", T::CLASS);
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// A stub of the object with this id.
    pub fn get(&self, id: &ObjectId<T>) -> T::Stub {
        let address = match (id.name(), id.jurisdiction()) {
            (Some(name), None) => RemoteAddress::Name(name.to_owned()),
            _ => RemoteAddress::Id(*id.as_bytes()),
        };
        T::stub(RawStub::remote(id.clone(), self.remote.clone(), address))
    }

    /// A stub of the object with this name.
    ///
    /// A name that is empty or has more than 1,024 bytes gives a stub whose calls fail with
    /// [`CallError::NotFound`](crate::CallError::NotFound).
    pub fn get_by_name(&self, name: &str) -> T::Stub {
        match self.id_from_name(name) {
            Ok(id) => self.get(&id),
            Err(error) => {
                let raw = RawId::from_name(Self::key(), None, name);
                T::stub(RawStub::new(ObjectId::new(raw, None), Err(error)))
            }
        }
    }
}

impl<T: DurableObject> Clone for RemoteNamespace<T> {
    fn clone(&self) -> Self {
        RemoteNamespace::new(self.remote.clone())
    }
}

impl<T: DurableObject> fmt::Debug for RemoteNamespace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteNamespace({})", T::CLASS)
    }
}
