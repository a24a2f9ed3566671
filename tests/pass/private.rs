//! Private objects with private types, and objects inside functions.

use durable::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Secret(u8);

#[derive(Default)]
struct Vault;

#[durable_object(name = "vault")]
impl Vault {
    #[migration(1)]
    fn create(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE secrets (value)")
    }

    pub fn keep(&mut self, secret: Secret) -> Secret {
        secret
    }

    pub(super) fn near(&self) -> u8 {
        1
    }

    pub(self) fn own(self, _value: impl Into<String>) {}
}

mod inner {
    use super::Secret;
    use durable::prelude::*;

    #[derive(Default)]
    pub(super) struct Box(());

    #[durable_object(renamed_from = "Crate", renamed_from = "Case")]
    impl Box {
        pub(in crate::private) fn open(&self, _secret: Secret) -> bool {
            true
        }
    }
}

fn in_a_function() {
    #[derive(Default)]
    struct Local;

    #[durable_object]
    impl Local {
        pub fn here(&self) -> bool {
            true
        }
    }
}

fn callers(vault: &VaultStub, inner: &inner::BoxStub) {
    let _ = (vault.keep(Secret(1)), vault.near(), inner.open(Secret(1)));
}
