//! Docs, `cfg`, `deprecated`, `must_use` and raw names pass through to the stub.

use durable::prelude::*;

#[derive(Default)]
pub struct Shop;

#[durable_object]
#[cfg(not(target_os = "none"))]
impl Shop {
    /// Sells.
    #[must_use]
    #[cfg_attr(all(), doc = "More.", inline)]
    pub fn sell(&mut self) -> u8 {
        1
    }

    #[deprecated = "use `sell`"]
    pub fn sell_old(&mut self) -> u8 {
        1
    }

    #[cfg(any())]
    pub fn absent(&self, missing: Missing) -> Missing {}

    // One of two.
    #[cfg(not(target_os = "none"))]
    pub fn either(&self) -> u8 {
        1
    }

    #[cfg(any())]
    pub fn either(&self) -> u16 {
        2
    }

    pub fn r#match(&self) -> u8 {
        1
    }

    #[allow(clippy::too_many_arguments)]
    pub fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
        a + b + c + d + e + f + g + h
    }
}

fn callers(stub: &ShopStub) {
    let _ = (stub.sell(), stub.either(), stub.r#match(), stub.many(1, 2, 3, 4, 5, 6, 7, 8));
    #[allow(deprecated)]
    let _ = stub.sell_old();
}

#[test]
fn names_are_sent_without_their_raw_mark() {
    use durable::DurableObject;
    let names: Vec<_> = Shop::METHODS.iter().map(|method| method.info.name).collect();
    assert_eq!(names, ["sell", "sell_old", "either", "match", "many"]);
    assert_eq!((Shop::CLASS, Shop::MIGRATIONS.len()), ("Shop", 0));
}
