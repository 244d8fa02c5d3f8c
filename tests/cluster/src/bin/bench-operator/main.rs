//! What does the operator cost? Operator, daemon and webhook run as processes with the rights that
//! `deploy/` gives them, on a control plane that nobody else uses.

mod burst;
mod idle;
mod many;
mod report;
mod single;
mod watched;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use spo_cluster_tests::bench::run;
use spo_cluster_tests::meter::load;

use crate::report::Report;
use crate::world::World;

/// What is asked for.
struct Options {
    json: bool,
    idle: Duration,
}

fn main() -> ExitCode {
    run("bench-operator", async || {
        let options = options(std::env::args().skip(1))?;
        let report = bench(&options).await?;
        report.print(options.json)?;
        Ok(report.goals_are_met())
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        json: false,
        idle: Duration::from_mins(1),
    };
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next().as_deref()) {
            ("-o", Some("json")) => options.json = true,
            ("--idle", Some(seconds)) => {
                let seconds: u64 = seconds
                    .parse()
                    .context("--idle takes a number of seconds")?;
                if seconds == 0 {
                    bail!("--idle must be at least 1");
                }
                options.idle = Duration::from_secs(seconds);
            }
            _ => bail!("usage: cargo xtask bench operator [-o json] [--idle SECONDS]"),
        }
    }
    Ok(options)
}

async fn bench(options: &Options) -> Result<Report> {
    let before = load()?;
    let mut world = World::new().await?;
    let start = world.memory()?;
    eprintln!("one profile after the other");
    let single = single::measure(&world).await?;
    eprintln!("many profiles at once");
    let many = many::measure(&mut world).await?;
    eprintln!("idle for {} s", options.idle.as_secs());
    let idle = idle::measure(&world, options.idle).await?;
    eprintln!("a daemon that begins anew");
    let restart = many::restart(&mut world).await?;
    eprintln!("statuses of many nodes at once");
    let burst = burst::measure(&world).await?;
    Ok(Report {
        load: [before, load()?],
        start,
        single,
        many,
        idle,
        restart,
        burst,
    })
}
