//! `spo uninstall`: removes what an installation left.

mod report;

use std::process::ExitCode;

use super::args::{Form, KeepArg, UninstallArgs};
use super::exit::{FAILED, Failure};
use super::progress::{line, output};
use crate::profile::diagnostic::escape;
use crate::uninstall::{self, Keep, Options, Outcome, Plan, Refusal, Use};

/// Pods that are told one by one.
const MOST: usize = 20;

/// Uninstalls, or tells what that would be; exit code 1 if it is refused or something is left.
pub(super) fn run(args: UninstallArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let is_done = runtime.block_on(uninstall(args))?;
    Ok(if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FAILED, error)
}

/// Whether all is done, or could be.
async fn uninstall(args: UninstallArgs) -> Result<bool, Failure> {
    let UninstallArgs {
        namespace,
        keep,
        image,
        kubelet_dir,
        timeout,
        dry_run,
        output: form,
    } = args;
    let options = Options {
        namespace,
        keep: match keep {
            KeepArg::None => Keep::Nothing,
            KeepArg::Used => Keep::Used,
            KeepArg::All => Keep::All,
        },
        image,
        kubelet: kubelet_dir,
        patience: timeout,
    };
    let client = uninstall::connect().await.map_err(failed)?;
    let seen = uninstall::observe(&client, &options).await;
    let seen = seen.map_err(failed)?;
    let plan = uninstall::plan(&seen, options.keep);
    let show = |outcome: Option<&Outcome>| show(&plan, outcome, form);
    if let Some(refusal) = &plan.refused {
        show(None)?;
        refuse(refusal);
        return Ok(false);
    }
    if dry_run {
        show(None)?;
        return Ok(true);
    }
    let mut say = |text: &str| line(format_args!("{}", escape(text)));
    let outcome = uninstall::apply(&client, &seen, &plan, &options, &mut say).await;
    show(Some(&outcome))?;
    let is_done = outcome.is_done();
    if let Some(error) = outcome.error {
        let context = "not finished: mend this, and run it again";
        return Err(failed(anyhow::Error::new(error).context(context)));
    }
    line(if is_done {
        format_args!("done")
    } else {
        format_args!("something is left, see above: mend it, and run this again")
    });
    Ok(is_done)
}

fn show(plan: &Plan, outcome: Option<&Outcome>, form: Form) -> Result<(), Failure> {
    match form {
        Form::Table => output(&report::table(plan, outcome)),
        Form::Json => output(&format!("{:#}\n", report::json(plan, outcome))),
    }
}

fn refuse(refusal: &Refusal) {
    match refusal {
        Refusal::NoImage => line(format_args!(
            "nothing is changed: the operator's Deployment is gone, so that nobody knows which image \
             to run on nodes; name it with --image"
        )),
        Refusal::InUse(uses) => {
            line(format_args!("nothing is changed: pods use profiles:"));
            for Use { pod, node, files } in uses.iter().take(MOST) {
                let node = node.as_deref().unwrap_or("no node yet");
                line(format_args!(
                    "  {} on {}: {}",
                    escape(pod),
                    escape(node),
                    escape(&files.join(", "))
                ));
            }
            if let Some(more) = uses.len().checked_sub(MOST).filter(|more| *more > 0) {
                line(format_args!("  and {more} more, see -o json"));
            }
            line(format_args!(
                "end these pods or give them other profiles, and run this again; or go on with --keep \
                 used (these profiles stay, object and file) or --keep all"
            ));
        }
    }
}
