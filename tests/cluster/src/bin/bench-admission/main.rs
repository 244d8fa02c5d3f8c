//! What does a pod wait for the webhook that binds it? The webhook runs as a process with the rights that
//! `deploy/` gives it, on a control plane that nobody else uses.

mod cases;
mod report;
mod rounds;
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
    run("bench-admission", async || {
        let options = options(std::env::args().skip(1))?;
        let report = bench(&options).await?;
        report.print(options.json)?;
        Ok(report.goals_are_met())
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        json: false,
        rounds: 500,
    };
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next().as_deref()) {
            ("-o", Some("json")) => options.json = true,
            ("--rounds", Some(rounds)) => {
                options.rounds = rounds.parse().context("--rounds takes a number")?;
                if options.rounds < 100 {
                    bail!("--rounds must be at least 100: one of a hundred is told of");
                }
            }
            _ => bail!("usage: cargo xtask bench admission [-o json] [--rounds N]"),
        }
    }
    Ok(options)
}

async fn bench(options: &Options) -> Result<Report> {
    let before = load()?;
    let mut world = World::new().await?;
    let start = world.memory()?;
    eprintln!("making bindings");
    world.fill().await?;
    let filled = world.memory()?;
    let namespaces = rounds::measure(&world, &cases::of_namespaces(), options.rounds).await?;
    eprintln!("making bindings that select namespaces");
    world.fill_own().await?;
    let selecting = rounds::measure(&world, &cases::of_all(), options.rounds).await?;
    Ok(Report {
        load: [before, load()?],
        namespaces,
        selecting,
        start,
        filled,
        end: world.memory()?,
    })
}
