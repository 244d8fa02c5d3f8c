//! Where a process spends its time: profiles that `go tool pprof` and `pprof` read, at the paths at
//! which Go programs have them.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pprof::protos::Message as _;
use pprof::{Frames, ProfilerGuard, ProfilerGuardBuilder};
use tokio::sync::Semaphore;

/// Samples in a second of processor time, as in Go.
const FREQUENCY: i32 = 100;
/// Seconds that are sampled if nobody says how many, as in Go.
const SECONDS: u64 = 30;
/// The most seconds.
pub const MOST_SECONDS: u64 = 300;
/// Where files can be even if the root file system is read-only.
const MEMORY: &str = "/dev/shm";
/// Libraries that are not interrupted: who walks a stack from within them may wait for itself.
const SPARED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

const INDEX: &str = "\
/debug/pprof/profile?seconds=N   time on the processor for N seconds (30, at most 300): go tool pprof URL
/debug/pprof/cmdline             the command line
";

/// The index, `profile` and `cmdline`.
pub fn router() -> Router {
    let one = Arc::new(Semaphore::new(1));
    Router::new()
        .route("/debug/pprof", get(INDEX))
        .route("/debug/pprof/", get(INDEX))
        .route("/debug/pprof/cmdline", get(cmdline))
        .route("/debug/pprof/profile", get(profile))
        .with_state(one)
}

/// As Go has it: parts that end in a zero byte.
async fn cmdline() -> String {
    let arguments = std::env::args_os();
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    arguments.join("\0")
}

async fn profile(State(one): State<Arc<Semaphore>>, RawQuery(query): RawQuery) -> Response {
    let Some(seconds) = seconds(query.as_deref()) else {
        let text = format!("seconds must be a whole number from 1 to {MOST_SECONDS}\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let Ok(_turn) = one.try_acquire() else {
        let text = "another profile is being made: try again when it is done\n";
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    };
    let guard = match begin() {
        Ok(guard) => guard,
        Err(error) => return failed("cannot begin to sample", &error),
    };
    tracing::info!(seconds, "sampling where the time goes");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // To find the names of functions takes a while.
    match tokio::task::spawn_blocking(move || finish(&guard)).await {
        Ok(Ok(profile)) => {
            let kind = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"profile\"",
                ),
            ];
            (kind, profile).into_response()
        }
        Ok(Err(error)) => failed("cannot make a profile", &error),
        Err(error) => failed("cannot make a profile", &error),
    }
}

fn seconds(query: Option<&str>) -> Option<u64> {
    let mut pairs = query.unwrap_or_default().split('&');
    let wish = pairs.find_map(|pair| pair.strip_prefix("seconds="));
    let seconds = wish.map_or(Some(SECONDS), |wish| wish.parse().ok())?;
    (1..=MOST_SECONDS).contains(&seconds).then_some(seconds)
}

fn begin() -> Result<ProfilerGuard<'static>, pprof::Error> {
    // Samples that do not fit into memory go to a file.
    if tempfile::tempfile().is_err() {
        // It may have been set by the profile before.
        tempfile::env::override_temp_dir(MEMORY.as_ref()).ok();
    }
    ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .blocklist(&SPARED)
        .build()
}

fn finish(guard: &ProfilerGuard<'static>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let report = guard.report().frames_post_processor(without_us).build()?;
    let mut profile = Vec::new();
    report.pprof()?.write_to_vec(&mut profile)?;
    Ok(profile)
}

/// Takes out the innermost frames, which are those of the sampling itself.
fn without_us(frames: &mut Frames) {
    const MOST: usize = 8;
    let of_sampling = |name: &str| {
        name.contains("pprof::")
            || name.starts_with("backtrace::")
            || ["trace", "trace_unsynchronized"].contains(&name)
    };
    let mut innermost = frames.frames.iter().take(MOST);
    let last = innermost.rposition(|symbols| {
        let mut symbols = symbols.iter();
        symbols.any(|symbol| of_sampling(&symbol.name()))
    });
    if let Some(last) = last {
        frames.frames.drain(..=last);
    }
}

fn failed(what: &str, error: &dyn Display) -> Response {
    tracing::warn!(%error, "{what}");
    let text = format!("{what}: {error}\n");
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_bounded() {
        assert_eq!(seconds(None), Some(30));
        assert_eq!(seconds(Some("debug=1")), Some(30));
        assert_eq!(seconds(Some("seconds=1")), Some(1));
        assert_eq!(seconds(Some("debug=1&seconds=300")), Some(300));
        for wrong in ["", "0", "-1", "301", "1.5", "1s", "99999999999999999999999"] {
            let query = format!("seconds={wrong}");
            assert_eq!(seconds(Some(&query)), None, "{wrong}");
        }
    }
}
