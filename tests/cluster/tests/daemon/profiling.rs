//! Where a daemon spends its time.

use std::net::TcpStream as Probe;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use spo_cluster_tests::web::{free_port, get, plain_get};
use tokio::net::TcpStream;

use crate::world::{World, allows, spo};

/// The body of an answer.
fn body(answer: &[u8]) -> Result<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    Ok(&answer[end.context("no body")? + 4..])
}

/// The fields of a message of protobuf: those that are numbers, and those that have a length.
#[derive(Default)]
struct Fields<'m> {
    numbers: Vec<(u64, u64)>,
    texts: Vec<(u64, &'m [u8])>,
}

fn fields(mut rest: &[u8]) -> Option<Fields<'_>> {
    fn number(rest: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, others) = rest.split_first()?;
            *rest = others;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Fields::default();
    while !rest.is_empty() {
        let key = number(&mut rest)?;
        match key & 7 {
            0 => found.numbers.push((key >> 3, number(&mut rest)?)),
            2 => {
                let length = usize::try_from(number(&mut rest)?).ok()?;
                found.texts.push((key >> 3, rest.get(..length)?));
                rest = &rest[length..];
            }
            _ => return None,
        }
    }
    Some(found)
}

#[tokio::test]
async fn a_busy_daemon_says_where_its_time_goes() -> Result<()> {
    let world = World::new().await?;
    let port = free_port()?;
    let mut command = Command::new(spo());
    command
        .args(world.arguments())
        .args(["-p", &format!("--profiling-port={port}")]);
    let daemon = world.start_as(command)?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;

    let said = plain_get(port, "/debug/pprof/", &[]).await?;
    ensure!(said.starts_with("HTTP/1.1 200") && said.contains("/debug/pprof/profile?seconds=N"));
    let said = plain_get(port, "/debug/pprof/cmdline", &[]).await?;
    ensure!(said.contains("\0daemon\0--root\0"), "{said:?}");
    for wrong in ["0", "301", "x", "-1", ""] {
        let said = plain_get(port, &format!("/debug/pprof/profile?seconds={wrong}"), &[]).await?;
        ensure!(
            said.starts_with("HTTP/1.1 400") && said.contains("from 1 to 300"),
            "{said}"
        );
    }

    let done = AtomicBool::new(false);
    let profile = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let answer = get(stream, "/debug/pprof/profile?seconds=3", &[]).await;
        done.store(true, Ordering::Relaxed);
        answer
    };
    let work = async {
        let mut refused = false;
        for number in 0.. {
            world
                .apply(
                    &format!("busy{}", number % 50),
                    &allows(&["read", "write", &format!("n{number}")]),
                )
                .await?;
            if number == 10 {
                let said = plain_get(port, "/debug/pprof/profile?seconds=1", &[]).await?;
                refused = said.starts_with("HTTP/1.1 429") && said.contains("try again");
            }
            if done.load(Ordering::Relaxed) {
                break;
            }
        }
        anyhow::Ok(refused)
    };
    let (answer, refused) = tokio::join!(profile, work);
    let answer = answer?;
    ensure!(refused?, "two profiles at a time");
    ensure!(answer.starts_with(b"HTTP/1.1 200"));
    let profile = body(&answer)?;
    let Fields {
        numbers,
        texts: fields,
    } = fields(profile).context("it is no protobuf")?;
    // As in profile.proto: 2 are samples, 5 functions, 6 all texts, 10 the nanoseconds that it took.
    let long = numbers.iter().find(|(number, _)| *number == 10);
    let (_, long) = long.context("it does not say how long it took")?;
    ensure!(*long >= 3_000_000_000, "{long} nanoseconds");
    let count = |wanted| {
        fields
            .iter()
            .filter(|(number, _)| *number == wanted)
            .count()
    };
    ensure!(count(2) > 0 && count(5) > 0, "{} samples", count(2));
    let texts = fields.iter().filter(|(number, _)| *number == 6);
    let texts: Vec<_> = texts
        .map(|(_, text)| String::from_utf8_lossy(text))
        .collect();
    let has = |part| texts.iter().any(|text| text.contains(part));
    ensure!(has("spo::"), "no function of ours");
    ensure!(
        !has("trace_unsynchronized"),
        "the sampling is in the samples"
    );
    // Another one may come after it.
    let said = plain_get(port, "/debug/pprof/profile?seconds=1", &[]).await?;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    drop(daemon);

    // Nobody serves that who was not told to.
    let mut command = Command::new(spo());
    command
        .args(world.arguments())
        .arg(format!("--profiling-port={port}"));
    let daemon = world.start_as(command)?;
    world.apply("b", &allows(&["read"])).await?;
    world.is_installed("b").await?;
    ensure!(Probe::connect(("127.0.0.1", port)).is_err());
    drop(daemon);
    world.remove().await
}
