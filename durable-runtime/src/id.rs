//! Ids: 256 bits that name one object of one class.
//!
//! Layout, in bytes: `[0]` jurisdiction, `[1..20]` body, `[20..32]` check. The body is a hash of
//! class key, jurisdiction and name, or comes from the operating system's generator. The check
//! is a hash of class key and everything before it.
//!
//! Invariants: the same class, jurisdiction and name always give the same id; an id of another
//! class, or with any bit changed, is refused. The check guards against mistakes; it is no
//! permission, since anybody who knows the class can compute it.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::engine::ObjectKey;
use crate::harness::Randomness;
use crate::{Error, ErrorKind, Result};

/// The longest object name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 1_024;

const BODY_END: usize = 20;

/// The 32 bytes of an id, of whatever class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RawId([u8; 32]);

impl RawId {
    pub(crate) fn from_name(class: &str, jurisdiction: Option<Jurisdiction>, name: &str) -> Self {
        let mut hash = hasher("name", class);
        hash.update([Jurisdiction::code(jurisdiction)]);
        hash.update(name);
        let digest = hash.finalize();
        Self::assemble(class, jurisdiction, &digest[..BODY_END - 1])
    }

    pub(crate) fn unique(
        class: &str,
        jurisdiction: Option<Jurisdiction>,
        randomness: &Randomness,
    ) -> Result<Self> {
        let mut body = [0; BODY_END - 1];
        randomness.fill(&mut body)?;
        Ok(Self::assemble(class, jurisdiction, &body))
    }

    fn assemble(class: &str, jurisdiction: Option<Jurisdiction>, body: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[0] = Jurisdiction::code(jurisdiction);
        bytes[1..BODY_END].copy_from_slice(body);
        let check = Self::check(class, &bytes[..BODY_END]);
        bytes[BODY_END..].copy_from_slice(&check);
        RawId(bytes)
    }

    fn check(class: &str, head: &[u8]) -> [u8; 32 - BODY_END] {
        let mut hash = hasher("check", class);
        hash.update(head);
        let digest = hash.finalize();
        std::array::from_fn(|index| digest[index])
    }

    /// Whether this is an id of the class with this key.
    pub(crate) fn belongs_to(&self, class: &str) -> bool {
        let (head, check) = self.0.split_at(BODY_END);
        Jurisdiction::from_code(head[0]).is_some() && Self::check(class, head) == check
    }

    pub(crate) fn jurisdiction(&self) -> Option<Jurisdiction> {
        Jurisdiction::from_code(self.0[0]).flatten()
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id that was stored as these bytes; [`belongs_to`](Self::belongs_to) checks it.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        RawId(bytes)
    }
}

/// A hash whose input cannot be confused with that of another purpose or class.
fn hasher(purpose: &str, class: &str) -> Sha256 {
    let mut hash = Sha256::new();
    for part in ["durable id 1", purpose, class] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RawId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            Error::new(ErrorKind::Invalid, format!("an object id is 64 hex digits, not {text:?}"))
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit =
                |ascii: u8| char::from(ascii).to_digit(16).and_then(|d| u8::try_from(d).ok());
            let (high, low) = digit(digits[0]).zip(digit(digits[1])).ok_or_else(refused)?;
            *byte = high << 4 | low;
        }
        Ok(RawId(bytes))
    }
}

/// The id of one object of class `T`: prints and serialises as 64 hex digits.
///
/// Ids come from a [`Namespace`](crate::Namespace). One that was deserialised is checked when it
/// is used: calls to an object of another class are refused.
pub struct ObjectId<T> {
    raw: RawId,
    name: Option<Arc<str>>,
    class: PhantomData<fn() -> T>,
}

impl<T> ObjectId<T> {
    pub(crate) fn new(raw: RawId, name: Option<Arc<str>>) -> Self {
        ObjectId { raw, name, class: PhantomData }
    }

    pub(crate) fn raw(&self) -> RawId {
        self.raw
    }

    /// The name that the id was made from, if it was.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Where the object's data must stay, if that was asked for.
    pub fn jurisdiction(&self) -> Option<Jurisdiction> {
        self.raw.jurisdiction()
    }

    /// The 32 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.raw.as_bytes()
    }
}

impl<T> Clone for ObjectId<T> {
    fn clone(&self) -> Self {
        ObjectId::new(self.raw, self.name.clone())
    }
}

impl<T> PartialEq for ObjectId<T> {
    /// Two ids are equal when their 256 bits are; the name is only remembered.
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<T> Eq for ObjectId<T> {}

impl<T> std::hash::Hash for ObjectId<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl<T> PartialOrd for ObjectId<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for ObjectId<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}

impl<T> fmt::Display for ObjectId<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.raw, f)
    }
}

impl<T> fmt::Debug for ObjectId<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "ObjectId({}, {name:?})", self.raw),
            None => write!(f, "ObjectId({})", self.raw),
        }
    }
}

impl<T> Serialize for ObjectId<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.raw)
    }
}

impl<'de, T> Deserialize<'de> for ObjectId<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let raw = text.parse().map_err(serde::de::Error::custom)?;
        Ok(ObjectId::new(raw, None))
    }
}

/// A region that an object's data must not leave. Part of the id.
///
/// On one node it has no effect but that it is checked: the same name in another jurisdiction is
/// another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Jurisdiction {
    /// The European Union.
    Eu,
    /// FedRAMP moderate.
    Fedramp,
    /// FedRAMP high.
    FedrampHigh,
    /// The United States.
    Us,
}

impl Jurisdiction {
    /// The byte that stands in ids. A promise: stored with every object.
    fn code(jurisdiction: Option<Self>) -> u8 {
        match jurisdiction {
            None => 0,
            Some(Jurisdiction::Eu) => 1,
            Some(Jurisdiction::Fedramp) => 2,
            Some(Jurisdiction::FedrampHigh) => 3,
            Some(Jurisdiction::Us) => 4,
        }
    }

    #[allow(clippy::option_option, reason = "outer: a known code; inner: a jurisdiction")]
    fn from_code(code: u8) -> Option<Option<Self>> {
        match code {
            0 => Some(None),
            1 => Some(Some(Jurisdiction::Eu)),
            2 => Some(Some(Jurisdiction::Fedramp)),
            3 => Some(Some(Jurisdiction::FedrampHigh)),
            4 => Some(Some(Jurisdiction::Us)),
            _ => None,
        }
    }
}

macro_rules! spelled {
    ($(#[$doc:meta])* $type:ident, $what:literal: $($text:literal => $variant:ident),+ $(,)?) => {
        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok($type::$variant),)+
                    _ => Err(Error::new(
                        ErrorKind::Invalid,
                        format!(concat!("{:?} is no ", $what, "; there are: {}"), text, [$($text),+].join(", ")),
                    )),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $text,)+ })
            }
        }
    };
}

spelled!(Jurisdiction, "jurisdiction":
    "eu" => Eu, "fedramp" => Fedramp, "fedramp-high" => FedrampHigh, "us" => Us,
);

/// Where an object should be created, for a cluster. Stored with the object and readable; without effect on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocationHint {
    /// Western North America.
    Wnam,
    /// Eastern North America.
    Enam,
    /// South America.
    Sam,
    /// Western Europe.
    Weur,
    /// Eastern Europe.
    Eeur,
    /// Asia and the Pacific.
    Apac,
    /// North-east Asia and the Pacific.
    ApacNe,
    /// South-east Asia and the Pacific.
    ApacSe,
    /// Oceania.
    Oc,
    /// Africa.
    Afr,
    /// The Middle East.
    Me,
}

spelled!(LocationHint, "location hint":
    "wnam" => Wnam, "enam" => Enam, "sam" => Sam, "weur" => Weur, "eeur" => Eeur, "apac" => Apac,
    "apac-ne" => ApacNe, "apac-se" => ApacSe, "oc" => Oc, "afr" => Afr, "me" => Me,
);

/// Checks an object name: any UTF-8 of 1 to 1,024 bytes.
pub(crate) fn check_name(name: &str) -> Result<()> {
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(()),
        bytes => Err(Error::new(
            ErrorKind::Invalid,
            format!("an object name has 1 to {NAME_BYTES_MAX} bytes, not {bytes}"),
        )),
    }
}

/// Who an object is, as far as it is known. The name and the hint may become known later: from the
/// stored object, or from a caller who knows them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The class key: the first name its class was ever registered under.
    pub(crate) class: Arc<str>,
    pub(crate) id: RawId,
    pub(crate) name: OnceLock<Arc<str>>,
    /// What is stored with the object.
    pub(crate) location_hint: OnceLock<LocationHint>,
    /// What a caller asked for, who did not know what is stored.
    pub(crate) requested_hint: OnceLock<LocationHint>,
}

impl Identity {
    /// Of an object of which no more is known.
    pub(crate) fn new(class: Arc<str>, id: RawId) -> Self {
        Identity {
            class,
            id,
            name: OnceLock::new(),
            location_hint: OnceLock::new(),
            requested_hint: OnceLock::new(),
        }
    }

    /// What the engine knows the object by.
    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey { class: Arc::clone(&self.class), id: self.id }
    }

    /// The first hint that was ever given counts.
    pub(crate) fn hint(&self) -> Option<LocationHint> {
        self.location_hint.get().or(self.requested_hint.get()).copied()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.get() {
            Some(name) => write!(f, "{} {name:?} ({})", self.class, self.id),
            None => write!(f, "{} {}", self.class, self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed id would orphan every stored object. Computed by another program from the layout above.
    #[test]
    fn golden_ids() {
        let plain = RawId::from_name("Counter", None, "home");
        let eu = RawId::from_name("Counter", Some(Jurisdiction::Eu), "home");
        assert_eq!(
            plain.to_string(),
            "00454f095611bec73fd3dfd1bf54425a1eb2c328db3264b1acba01aed3352a62"
        );
        assert_eq!(
            eu.to_string(),
            "01a73071910d290e03e1757228acb9d82fa482f74def86e5130ae1a9fab9ea01"
        );
    }

    #[test]
    fn one_changed_bit_is_refused() {
        let id = RawId::from_name("Counter", None, "home");
        assert!(id.belongs_to("Counter"));
        assert!(!id.belongs_to("Counter2"));
        for bit in 0..256 {
            let mut bytes = *id.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!RawId(bytes).belongs_to("Counter"), "bit {bit}");
        }
    }

    #[test]
    fn text_form() {
        let id = RawId::unique("Counter", None, &Randomness::System).unwrap();
        assert_eq!(id.to_string().parse::<RawId>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<RawId>().unwrap(), id);
        for bad in ["", "12", &"g".repeat(64), &"1".repeat(63), &"é".repeat(32), &"+1".repeat(32)]
        {
            let error = bad.parse::<RawId>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn names_of_places() {
        assert_eq!("apac-ne".parse::<LocationHint>().unwrap(), LocationHint::ApacNe);
        assert_eq!("fedramp-high".parse::<Jurisdiction>().unwrap().to_string(), "fedramp-high");
        let error = "moon".parse::<LocationHint>().unwrap_err();
        assert!(error.message().contains("wnam"), "{error}");
    }
}
