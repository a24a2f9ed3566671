//! What is too much.

use durable::ErrorKind;
use durable_tests::matrix;

use super::room::Room;
use super::{Mute, join, notes, request, start, text, with_key};

matrix! {
    async fn a_message_that_is_too_long_closes_its_socket(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        socket.send("x".repeat(1_000));
        assert!(text(&socket).await.starts_with("what is xxx"));
        socket.send("x".repeat(1_001));
        assert_eq!(socket.closed().await.unwrap().code, 1009);
        let notes = notes(&runtime).await;
        assert!(notes[0].starts_with("error Open: a message has 1001 bytes"), "{notes:?}");
        assert!(notes[1].starts_with("1009 "), "{notes:?}");
        assert_eq!(notes.len(), 2);
    }

    async fn attachments_are_typed_and_limited(bed) {
        let runtime = start(&bed).await;
        let _socket = join(&runtime, "/join?Ann").await;
        let room = runtime.get::<Room>("a");
        let checked = runtime.run_in_object(&room, |_, ctx| {
            let socket = ctx.websockets().remove(0);
            assert_eq!(socket.attachment::<u32>().unwrap_err().kind(), ErrorKind::Conversion);
            // Three bytes say how long it is.
            socket.set_attachment(&"x".repeat(16 * 1024 - 3))?;
            let error = socket.set_attachment(&"x".repeat(16 * 1024 - 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(socket.attachment::<String>()?.unwrap().len(), 16 * 1024 - 3);
            Ok(())
        });
        checked.await.unwrap();
    }

    async fn an_object_has_at_most_32768_sockets(bed) {
        let runtime = start(&bed).await;
        let mute = runtime.get::<Mute>("a");
        let _before = runtime.connect(&mute, request("/")).await.unwrap();
        let filled = runtime.run_in_object(&mute, |_, ctx| {
            for _ in 1..durable::SOCKETS_MAX {
                ctx.accept_websocket(&mut with_key(request("/")), [])?;
            }
            assert_eq!(ctx.websockets().len(), 32_768);
            let refused = ctx.accept_websocket(&mut with_key(request("/")), []).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Limit);
            Ok(())
        });
        filled.await.unwrap();
    }

    async fn who_sends_much_and_reads_as_it_comes_is_not_closed(bed) {
        let runtime = start(&bed).await;
        let socket = join(&runtime, "/join").await;
        // Each answer is most of what may wait.
        let long = |number: u32| format!("{number:0900}");
        for number in 0..30 {
            socket.send(format!("echo {}", long(number)));
        }
        for number in 0..30 {
            assert_eq!(text(&socket).await, long(number));
        }
    }
}
