//! `spo migrate`: the objects of a cluster in `v1`.

mod backup;
mod report;

use std::io;
use std::process::ExitCode;

use self::backup::Backup;
use self::report::Report;
use super::args::{Form, MigrateArgs};
use super::exit::{FAILED, Failure};
use super::held::shown;
use super::progress::{line, output};
use crate::migrate::{self, ObjectPlan, Observer, Outcome, Plan, Server};

/// Migrates, or tells what that would be; exit code 1 if anything stands or stood in the way.
pub(super) fn run(args: &MigrateArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let is_done = runtime.block_on(migrate(args))?;
    Ok(if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FAILED, error)
}

/// Whether nothing stands in the way, or is left to do.
async fn migrate(args: &MigrateArgs) -> Result<bool, Failure> {
    let server = Server::connect().await.map_err(failed)?;
    let plan = migrate::plan(&server).await.map_err(failed)?;
    let show = |outcome: Option<&Outcome>| {
        let report = Report::new(&plan, outcome);
        let text = match args.output {
            Form::Table => report.table(),
            Form::Json => format!("{:#}\n", report.json()),
        };
        output(&text)
    };
    if !plan.is_possible() {
        show(None)?;
        line(format_args!(
            "nothing is changed while there are errors (see above)"
        ));
        return Ok(false);
    }
    if plan.is_empty() {
        show(None)?;
        line(format_args!("nothing to do"));
        return Ok(true);
    }
    let Some(folder) = &args.backup else {
        show(None)?;
        return Ok(true);
    };
    let backup = Backup::write(folder, &plan).map_err(failed)?;
    line(format_args!(
        "{} objects are backed up in {}",
        plan.objects.len(),
        shown(folder.as_os_str())
    ));
    let mut progress = Progress {
        plan: &plan,
        backup,
        written: 0,
    };
    let outcome = migrate::apply(&server, &plan, &mut progress).await;
    show(Some(&outcome))?;
    if let Some(error) = outcome.error {
        let left: Vec<_> = plan
            .definitions
            .iter()
            .map(|step| step.kind)
            .filter(|kind| !outcome.kinds.contains(kind))
            .collect();
        let context = format!(
            "{} objects are in v1; not finished: {}; mend this and run it again, with another folder",
            outcome.objects.len(),
            left.join(", ")
        );
        return Err(failed(anyhow::Error::new(error).context(context)));
    }
    Ok(true)
}

struct Progress<'p> {
    plan: &'p Plan,
    backup: Backup,
    written: usize,
}

impl Observer for Progress<'_> {
    fn hidden(&mut self, object: &ObjectPlan) -> io::Result<()> {
        self.backup.add(object)
    }

    fn written(&mut self, object: &ObjectPlan) {
        self.written += 1;
        let all = self.plan.objects.len().max(self.written);
        line(format_args!("{}/{all} {object} is in v1", self.written));
    }

    fn done(&mut self, kind: &str) {
        line(format_args!("{kind} is done"));
    }
}
