//! To be replaced by `wire::shape`.
use std::fmt;
/// Shape.
#[derive(Debug)]
pub struct MethodShape;
impl MethodShape {
    /// None.
    pub fn fingerprint(&self) -> Option<u64> {
        None
    }
    /// None.
    pub fn differences(&self, _theirs: &str) -> String {
        String::new()
    }
}
impl fmt::Display for MethodShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown")
    }
}
impl crate::rpc::MethodDescription {
    /// The shape.
    pub fn shape(&self) -> &'static MethodShape {
        &MethodShape
    }
}
