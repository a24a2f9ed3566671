use crate::bed::{Bed, fill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look() {
    let bed = Bed::new();
    let runtime = bed.served().await;
    fill(&runtime).await.unwrap();
    for round in 0..2 {
        if round == 1 {
            runtime.shutdown().await.unwrap();
        }
        for line in [
            "durable classes",
            "durable list Room",
            "durable show Room/lobby",
            "durable sql Room/lobby 'SELECT * FROM posts'",
            "durable bookmarks Room/lobby",
            "durable stats",
            "durable alarms",
            "durable check",
            "durable check Room",
            "durable migrate --dry-run",
            "durable top --count 1",
            "durable --json show Room/lobby",
            "durable evict Room/lobby",
            "durable sql Room/lobby 'DELETE FROM posts'",
            "durable sql Room/lobby 'DELETE FROM posts' --write",
            "durable alarms --fire Room/lobby",
            "durable bookmarks Room/lobby --at '1m ago'",
            "durable restore Room/lobby '1s ago'",
            "durable delete Counter/visits",
            "durable delete Counter/visits --yes",
            "durable show Counter/visits",
            "durable bookmarks Counter/visits",
            "durable restore Counter/visits '1s ago'",
            "durable show Counter/visits",
        ] {
            let ended = bed.run_line(line, &[]).await;
            println!("$ {line}\n{}{}[{}]\n", ended.out, ended.err, ended.code);
        }
    }
}
