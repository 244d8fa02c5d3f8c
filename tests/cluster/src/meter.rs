//! What a process uses, and what the API server was asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// All of it.
    pub all: u64,
    /// What it allocated.
    pub anonymous: u64,
    /// Pages of files: the program and its libraries, which processes share.
    pub file: u64,
    /// The most that it ever was.
    pub peak: u64,
}

/// Such numbers in MiB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

impl Memory {
    /// Of a process now.
    pub fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("{path} has no {name}"))
        };
        Ok(Self {
            all: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            file: field("RssFile:")?,
            peak: field("VmHWM:")?,
        })
    }
}

/// The time that a process was on a CPU, its ended threads included.
pub fn cpu(process: u32) -> Result<Duration> {
    /// The kernel's unit for programs, on all architectures that we know.
    const TICKS: u64 = 100;
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The name may have spaces and parentheses in it.
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> {
        let field = fields.get(at).context("too few fields")?;
        field.parse().context("no number")
    };
    let ticks = ticks(11)? + ticks(12)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// How many processes wanted a CPU in the last minute.
pub fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("failed to read /proc/loadavg")?;
    let first = text.split(' ').next().context("/proc/loadavg is empty")?;
    first.parse().context("/proc/loadavg has no number")
}

/// The API server's audit log.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    /// Whose requests count.
    accounts: &'static [&'static str],
}

/// A moment in it.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Reference>,
    #[serde(rename = "requestURI")]
    uri: String,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Reference {
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
}

impl Asked {
    /// Such as `patch seccompprofiles/status`.
    pub fn what(&self) -> String {
        let Some(reference) = &self.object_ref else {
            let path = self.uri.split('?').next().unwrap_or_default();
            return format!("{} {path}", self.verb);
        };
        let Reference {
            resource,
            subresource,
            name: _,
        } = reference;
        match subresource {
            Some(subresource) => format!("{} {resource}/{subresource}", self.verb),
            None => format!("{} {resource}", self.verb),
        }
    }

    /// Such as `patch`.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// Such as `seccompprofiles`; empty where nothing is.
    pub fn resource(&self) -> &str {
        self.object_ref
            .as_ref()
            .map_or("", |reference| &reference.resource)
    }

    /// Of the object.
    pub fn name(&self) -> Option<&str> {
        self.object_ref.as_ref()?.name.as_deref()
    }

    /// Whether it is a lease that is kept, or a watch that goes on.
    pub fn is_upkeep(&self) -> bool {
        self.verb == "watch" || self.resource() == "leases"
    }

    /// The service account, without its namespace.
    pub fn account(&self) -> &str {
        self.user.username.rsplit(':').next().unwrap_or_default()
    }
}

impl Audit {
    /// Reads the log of this name, for what these service accounts asked.
    pub fn at(path: &Path, accounts: &'static [&'static str]) -> Self {
        let path = path.to_owned();
        Self { path, accounts }
    }

    /// Now.
    pub fn mark(&self) -> Result<Mark> {
        let about = fs::metadata(&self.path);
        let about = about.with_context(|| format!("failed to look at {}", self.path.display()))?;
        Ok(Mark(about.len()))
    }

    /// What they asked since then.
    pub fn since(&self, mark: Mark) -> Result<Vec<Asked>> {
        let path = self.path.display();
        ensure!(self.mark()?.0 >= mark.0, "{path} was begun anew meanwhile");
        let mut file = File::open(&self.path).with_context(|| format!("failed to open {path}"))?;
        file.seek(SeekFrom::Start(mark.0))
            .with_context(|| format!("failed to read {path}"))?;
        let mut all = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| format!("failed to read {path}"))?;
            // The last line may be half written.
            let Ok(asked) = serde_json::from_str::<Asked>(&line) else {
                continue;
            };
            // A watch is told when it begins and when it ends, everything else when it is answered.
            let counts = match asked.verb.as_str() {
                "watch" => asked.stage == "ResponseStarted",
                _ => asked.stage == "ResponseComplete",
            };
            if counts && self.accounts.contains(&asked.account()) {
                all.push(asked);
            }
        }
        Ok(all)
    }
}

/// Requests by account and kind.
pub fn count<'a>(
    asked: impl IntoIterator<Item = &'a Asked>,
) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for asked in asked {
        let account = counts.entry(asked.account().to_owned()).or_default();
        *account.entry(asked.what()).or_default() += 1;
    }
    counts
}
