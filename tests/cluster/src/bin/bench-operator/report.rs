//! What was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use spo_cluster_tests::meter::{Memory, mebibytes};

use crate::burst::Burst;
use crate::idle::Idle;
use crate::many::{Many, Restart};
use crate::single::{Single, Times};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of the machine, before and after. Far above one for each CPU, times mean little.
    pub(crate) load: [f64; 2],
    /// With one profile.
    pub(crate) start: BTreeMap<String, Memory>,
    pub(crate) single: Single,
    pub(crate) many: Many,
    pub(crate) idle: Idle,
    pub(crate) restart: Restart,
    pub(crate) burst: Burst,
}

/// What a figure should be at most.
struct Goal {
    what: &'static str,
    is: f64,
    most: f64,
}

impl Report {
    fn goals(&self) -> Vec<Goal> {
        let goal = |what, is, most| Goal { what, is, most };
        let resident =
            |memory: Option<&Memory>| memory.map_or(f64::NAN, |memory| mebibytes(memory.all));
        let memory = &self.many.memory;
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let other = self.idle.other_requests as f64;
        vec![
            goal(
                "milliseconds to Installed, p99",
                self.single.installed.p99,
                1000.0,
            ),
            goal(
                "requests a profile and node, but events",
                self.many.requests_per_profile,
                4.0,
            ),
            goal("daemon, MiB", resident(memory.get("daemon")), 40.0),
            goal(
                "daemon begun anew, MiB",
                resident(Some(&self.restart.memory)),
                40.0,
            ),
            goal("operator, MiB", resident(memory.get("operator")), 80.0),
            goal(
                "operator with 1,000 nodes, MiB",
                resident(Some(&self.burst.operator_after)),
                80.0,
            ),
            goal("idle requests but leases and watches", other, 0.0),
        ]
    }

    pub(crate) fn goals_are_met(&self) -> bool {
        self.goals().iter().all(Goal::is_met)
    }

    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut output = std::io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut output, self)?;
            writeln!(output)?;
            return Ok(());
        }
        output.write_all(self.text()?.as_bytes())?;
        Ok(())
    }

    fn text(&self) -> Result<String> {
        let Self {
            load: [before, after],
            start,
            single,
            many,
            idle,
            restart,
            burst,
        } = self;
        let mut text = String::new();
        let out = &mut text;
        writeln!(
            out,
            "Load of the machine: {before:.1} before, {after:.1} after\n"
        )?;
        single.text(out)?;
        many.text(out)?;
        memory(out, "1 profile", start)?;
        memory(out, "1,001 profiles", &many.memory)?;
        let anew = BTreeMap::from([("daemon".to_owned(), restart.memory)]);
        memory(out, "begun anew", &anew)?;
        let with_nodes = BTreeMap::from([("operator".to_owned(), burst.operator_after)]);
        memory(out, "1,000 nodes, 5,000 statuses", &with_nodes)?;
        writeln!(
            out,
            "\nA daemon that begins anew installs a new profile after {:.1} s",
            restart.seconds
        )?;
        requests(out, "asks of it", &restart.requests)?;
        idle.text(out)?;
        burst.text(out)?;
        writeln!(out, "\n{:<42} {:>8} {:>8}", "goal", "is", "at most")?;
        for goal in self.goals() {
            let Goal { what, is, most } = &goal;
            let verdict = if goal.is_met() { "" } else { "  MISSED" };
            writeln!(out, "{what:<42} {is:>8.2} {most:>8}{verdict}")?;
        }
        Ok(text)
    }
}

impl Goal {
    fn is_met(&self) -> bool {
        self.is <= self.most
    }
}

impl Single {
    fn text(&self, out: &mut String) -> Result<()> {
        let Self {
            rounds,
            config_map,
            file,
            node_status,
            installed,
            file_ratio,
            installed_ratio,
        } = self;
        writeln!(
            out,
            "Milliseconds from applying one, {rounds} rounds; times the ConfigMap's median\n"
        )?;
        writeln!(
            out,
            "{:<34} {:>8} {:>8} {:>8} {:>8}",
            "until", "median", "p95", "p99", "most"
        )?;
        let mut row = |name: &str, times: &Times, ratio: Option<f64>| {
            let Times {
                median,
                p95,
                p99,
                most,
            } = times;
            let ratio = ratio.map_or_else(String::new, |ratio| format!("   {ratio:.1} times"));
            writeln!(
                out,
                "{name:<34} {median:>8.1} {p95:>8.1} {p99:>8.1} {most:>8.1}{ratio}"
            )
        };
        row("a ConfigMap is shown (yardstick)", config_map, None)?;
        row("the file is on the node", file, Some(*file_ratio))?;
        row("the node says Installed", node_status, None)?;
        row(
            "the profile says Installed",
            installed,
            Some(*installed_ratio),
        )?;
        Ok(())
    }
}

impl Many {
    fn text(&self, out: &mut String) -> Result<()> {
        let Self {
            profiles,
            applied_seconds,
            installed_seconds,
            requests: asked,
            requests_per_profile,
            daemon_requests_per_profile,
            memory: _,
        } = self;
        writeln!(
            out,
            "\n{profiles} profiles at once: applied in {applied_seconds:.1} s, installed after \
             {installed_seconds:.1} s\nrequests a profile, without events: {requests_per_profile:.2}, of which \
             the node's {daemon_requests_per_profile:.2}"
        )?;
        for (account, asked) in asked {
            requests(out, account, asked)?;
        }
        writeln!(
            out,
            "\n{:<30} {:<10} {:>9} {:>10} {:>9} {:>9}",
            "resident, MiB", "process", "all", "anonymous", "files", "peak"
        )?;
        Ok(())
    }
}

impl Idle {
    fn text(&self, out: &mut String) -> Result<()> {
        let Self {
            seconds,
            requests: asked,
            other_requests,
            cpu,
            cpu_of_an_hour,
        } = self;
        writeln!(
            out,
            "\nIdle for {seconds} s: {other_requests} requests but leases and watches"
        )?;
        for (account, asked) in asked {
            requests(out, account, asked)?;
        }
        for (process, used) in cpu {
            let hour = cpu_of_an_hour.get(process).copied().unwrap_or_default();
            writeln!(
                out,
                "  {process}: {used} ms on a CPU; an hour like this: {hour} ms"
            )?;
        }
        Ok(())
    }
}

impl Burst {
    fn text(&self, out: &mut String) -> Result<()> {
        let Self {
            nodes,
            profiles,
            written_seconds,
            told_after_seconds,
            patches_per_profile,
            operator_before,
            operator_after,
            bytes_per_status,
            status_size,
            profile_size,
            etcd_bytes_per_status,
        } = self;
        writeln!(
            out,
            "\n{nodes} nodes say how far {profiles} profiles got: written in {written_seconds:.1} s, told by \
             the profiles {told_after_seconds:.1} s later\n  patches of each profile: {patches_per_profile:.1}\n  \
             operator: {} KiB before, {} KiB after, {} KiB at most; {bytes_per_status} bytes a status\n  \
             as JSON: a status {status_size} bytes, a profile {profile_size}; etcd grew by \
             {etcd_bytes_per_status} bytes a status",
            operator_before.all, operator_after.all, operator_after.peak
        )?;
        Ok(())
    }
}

fn requests(out: &mut String, who: &str, asked: &BTreeMap<String, usize>) -> Result<()> {
    let asked: Vec<_> = asked
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    writeln!(out, "  {who}: {}", asked.join(", "))?;
    Ok(())
}

fn memory(out: &mut String, when: &str, all: &BTreeMap<String, Memory>) -> Result<()> {
    for (process, memory) in all {
        let Memory {
            all,
            anonymous,
            file,
            peak,
        } = *memory;
        let [all, anonymous, file, peak] = [all, anonymous, file, peak].map(mebibytes);
        writeln!(
            out,
            "{when:<30} {process:<10} {all:>9.1} {anonymous:>10.1} {file:>9.1} {peak:>9.1}"
        )?;
    }
    Ok(())
}
