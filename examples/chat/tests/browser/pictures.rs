//! The pictures of the README.

use std::path::{Path, PathBuf};

use tempfile::tempdir;

use super::client::Client;
use super::driver::{DESKTOP, Driver, Look, PHONE};
use super::server::{Server, any_port, chat};
use super::{Person, page};

/// Who says what, in their order.
const TALK: [(&str, &str); 9] = [
    ("Mira", "Morning! Who has the keys to the boat?"),
    ("Tom", "I do. I'll be at the pier at nine, bring something warm."),
    ("Tom", "Wind from the west, 4 to 5, and sun after lunch ⛵"),
    ("Ann", "I'll bring coffee. How many are we? I count five."),
    ("Ravi", "Six, Ole is coming too if his train is on time."),
    ("Ole", "On the train! The server went down while I wrote this. It still came."),
    ("Sam", "Mine too. I did not even notice."),
    ("Ann", "Who takes care of lunch? I could make sandwiches."),
    ("Mira", "Perfect ❤️ I'll bring fruit."),
];

const ALL: [&str; 6] = ["Ann", "Mira", "Ole", "Ravi", "Sam", "Tom"];

#[tokio::test]
#[ignore = "needs Chromium; .ci/run runs it"]
async fn pictures_of_a_room() {
    let to = std::env::var_os("CHAT_PICTURES").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let to = to.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), |to| root.join(to));
    let (driver, directory) = (Driver::start(), tempdir().unwrap());
    let server = Server::start(chat(directory.path(), any_port()).arg("--burst=1000"));
    let mut members = Vec::new();
    for name in ALL {
        let mut member = Client::join(server.address, "sunday%20sail", name).await.unwrap();
        member.next().await.unwrap();
        members.push((name, member));
    }
    for (number, (author, text)) in TALK.iter().enumerate() {
        let (_, member) = members.iter_mut().find(|(name, _)| name == author).unwrap();
        member.adds(&number.to_string(), text).await;
    }
    let wide = Look { size: (1120, 840), ..DESKTOP };
    let tall = Look { size: (390, 720), ..PHONE };
    for (name, look) in [("light.png", wide), ("dark.png", tall)] {
        let ann = Person::enters(&driver, look, &page(&server, "sunday%20sail"), "Ann").await;
        let shown = "document.querySelectorAll('#messages .message').length";
        ann.browser.until(&format!("{shown} === {}", TALK.len())).await;
        // Without the cursor, which blinks.
        ann.browser.value("document.activeElement.blur()").await;
        let picture = ann.browser.picture().await;
        assert!(picture.starts_with(b"\x89PNG"));
        std::fs::write(to.join(name), picture).unwrap();
    }
}
