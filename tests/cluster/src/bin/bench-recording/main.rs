//! What does recording cost a server, and what does a node's recorder itself do? On a cluster that
//! nobody else uses, with a node and everything that `deploy/` installs on it.
//!
//! A Redis in a pod is asked from outside of the pod, in turns, round after round: nothing attached,
//! an empty program at the same hook, another pod recorded, this pod recorded. What counts is the ratio
//! of what requests take longer.

mod many;
mod redis;
mod report;
mod world;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use spo_cluster_tests::bench::run;
use spo_cluster_tests::meter::load;

use crate::report::Report;
use crate::world::World;

/// What is asked for.
struct Options {
    json: bool,
    rounds: usize,
}

fn main() -> ExitCode {
    run("bench-recording", async || {
        let options = options(std::env::args().skip(1))?;
        let report = bench(&options).await?;
        report.print(options.json)?;
        Ok(report.goals_are_met())
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        json: false,
        rounds: 15,
    };
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next().as_deref()) {
            ("-o", Some("json")) => options.json = true,
            ("--rounds", Some(rounds)) => {
                options.rounds = rounds.parse().context("--rounds takes a number")?;
                if options.rounds == 0 {
                    bail!("--rounds must be at least 1");
                }
            }
            _ => bail!("usage: cargo xtask bench recording [-o json] [--rounds N]"),
        }
    }
    Ok(options)
}

async fn bench(options: &Options) -> Result<Report> {
    let before = load()?;
    let world = World::install().await?;
    let redis = redis::measure(&world, options.rounds).await?;
    eprintln!("many containers");
    let many = many::measure(&world).await?;
    Ok(Report {
        load: [before, load()?],
        redis,
        many,
    })
}
