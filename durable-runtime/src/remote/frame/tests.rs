use proptest::prelude::*;

use super::*;
use crate::{Error, ErrorKind};

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn call() -> impl Strategy<Value = CallFrame> {
    let object = prop_oneof![
        text().prop_map(RemoteAddress::Name),
        any::<[u8; 32]>().prop_map(RemoteAddress::Id),
    ];
    let gates = proptest::collection::vec(any::<(u64, u64)>(), 0..4);
    let names = proptest::collection::vec(text(), 0..4);
    let timeout = proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    let who = (text(), object, text(), gates);
    (any::<u64>(), who, any::<Option<u64>>(), timeout, names, bytes()).prop_map(
        |(number, (class, object, method, gates), fingerprint, timeout, names, arguments)| {
            CallFrame {
                number,
                class: Cow::Owned(class),
                object,
                method: Cow::Owned(method),
                fingerprint,
                knows: number % 2 == 0,
                timeout,
                gates: gates
                    .into_iter()
                    .map(|(process, number)| GateLink { process, number })
                    .collect(),
                names: names.into_iter().map(Cow::Owned).collect(),
                arguments,
            }
        },
    )
}

fn reply() -> impl Strategy<Value = ReplyFrame> {
    let failed = prop_oneof![
        any::<u64>().prop_map(|queued| Failed::Overloaded { queued }),
        (any::<bool>(), any::<u64>())
            .prop_map(|(started, after_ms)| Failed::TimedOut { started, after_ms }),
        text().prop_map(|said| Failed::NotFound(Error::new(ErrorKind::NotFound, said))),
        (any::<u16>(), text()).prop_map(|(status, reason)| Failed::Denied { status, reason }),
        Just(Failed::OtherShape),
    ];
    let outcome = prop_oneof![
        bytes().prop_map(Outcome::Value),
        bytes().prop_map(Outcome::Error),
        failed.prop_map(Outcome::Failed),
    ];
    let known = (any::<bool>(), proptest::option::of(text()));
    let known = proptest::option::of(known.prop_map(|(agrees, shape)| Known { agrees, shape }));
    (any::<u64>(), known, outcome).prop_map(|(number, known, outcome)| ReplyFrame {
        number,
        known,
        outcome,
    })
}

proptest! {
    #[test]
    fn frames_come_back(call in call(), reply in reply(), number: u64) {
        for frame in [ToServer::Call(Box::new(call)), ToServer::Cancel(number)] {
            prop_assert_eq!(ToServer::decode(&frame.encode().unwrap()).unwrap(), frame);
        }
        prop_assert_eq!(ReplyFrame::decode(&reply.encode().unwrap()).unwrap(), reply);
    }

    /// Whatever arrives gives a frame or an error, and never much memory.
    #[test]
    fn what_is_no_frame_is_refused(noise in bytes(), call in call(), cut: prop::sample::Index, at: prop::sample::Index, with: u8) {
        let _ = ToServer::decode(&noise);
        let _ = ReplyFrame::decode(&noise);
        let whole = ToServer::Call(Box::new(call)).encode().unwrap();
        let cut = whole.slice(..cut.index(whole.len()));
        let _ = ToServer::decode(&cut);
        let mut changed = whole.to_vec();
        changed[at.index(whole.len())] = with;
        let _ = ToServer::decode(&Bytes::from(changed));
    }
}

#[test]
fn a_head_has_a_limit() {
    let long = || "a".repeat(HEAD_BYTES_MAX + 1);
    let mut call = CallFrame {
        number: 1,
        class: Cow::Borrowed("Room"),
        object: RemoteAddress::Name(long()),
        method: Cow::Borrowed("post"),
        fingerprint: None,
        knows: false,
        timeout: None,
        gates: Vec::new(),
        names: Vec::new(),
        arguments: Bytes::from(vec![0; 2 * HEAD_BYTES_MAX]),
    };
    assert!(ToServer::Call(Box::new(call.clone())).encode().is_err());
    // The arguments are no part of it.
    call.object = RemoteAddress::Name("lobby".into());
    let frame = ToServer::Call(Box::new(call.clone())).encode().unwrap();
    assert_eq!(ToServer::decode(&frame), Ok(ToServer::Call(Box::new(call))));
    // A name that says it is 2^40 bytes long: refused before anything is allocated.
    let huge = [0, 1, 253, 0, 0, 0, 0, 0, 1, 0, 0];
    assert!(ToServer::decode(&Bytes::copy_from_slice(&huge)).is_err());
}
