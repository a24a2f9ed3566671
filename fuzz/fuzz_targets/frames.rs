//! What comes over the connection of a remote client: no panic, and what is read is written again as it was.
#![no_main]

use durable::remote::{ReplyFrame, ToServer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes.to_vec().into();
    if let Ok(frame) = ToServer::decode(&bytes) {
        let again = frame.encode().expect("it was small enough");
        assert_eq!(ToServer::decode(&again), Ok(frame));
    }
    if let Ok(frame) = ReplyFrame::decode(&bytes) {
        let again = frame.encode().expect("it was small enough");
        assert!(ReplyFrame::decode(&again).is_ok());
    }
});
