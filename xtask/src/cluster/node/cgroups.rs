//! The cgroups of a node: one of a name of its own in each hierarchy of the machine. All of its
//! processes are below the one in the cgroup2 hierarchy, whoever started them; so they are found.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(20);
/// The child that holds what is started here; pods are beside it. A cgroup that hands controllers
/// on to children can hold no process itself.
const PROGRAMS: &str = "programs";

/// Where the machine's hierarchies are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// The cgroup2 hierarchy.
    unified: PathBuf,
    /// Those of version 1; none on most machines.
    others: Vec<PathBuf>,
}

impl Hierarchies {
    /// Those of this machine; or why there can be no node.
    pub(super) fn find() -> Result<Result<Self, String>> {
        let mounts = fs::read_to_string("/proc/mounts").context("failed to read /proc/mounts")?;
        Ok(Self::parse(&mounts).ok_or_else(|| "no cgroup2 hierarchy is mounted".to_owned()))
    }

    fn parse(mounts: &str) -> Option<Self> {
        let of_kind = |wanted: &'static str| {
            mounts.lines().filter_map(move |line| {
                let mut words = line.split(' ').skip(1);
                let place = words.next()?;
                (words.next()? == wanted).then(|| PathBuf::from(place))
            })
        };
        Some(Self {
            unified: of_kind("cgroup2").next()?,
            others: of_kind("cgroup").collect(),
        })
    }

    /// Whether controllers are in hierarchies of version 1.
    pub(super) fn are_divided(&self) -> bool {
        !self.others.is_empty()
    }

    /// Makes the cgroup of this name in the cgroup2 hierarchy; whether it was not there. Of several
    /// processes that try, one succeeds.
    pub(super) fn claim(&self, name: &str) -> Result<bool> {
        let path = self.unified.join(name);
        match fs::create_dir(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).with_context(|| format!("failed to make {}", path.display())),
        }
    }

    /// Makes the rest: the cgroups of this name in the other hierarchies, and those within. With
    /// `hand_on`, children can use all controllers of the cgroup2 hierarchy.
    pub(super) fn fill(&self, name: &str, hand_on: bool) -> Result<()> {
        for hierarchy in &self.others {
            make(&hierarchy.join(name))?;
            // A new cpuset is empty, and an empty one takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let from = hierarchy.join(file);
                if from.exists() {
                    let to = hierarchy.join(name).join(file);
                    let context = || format!("failed to fill {}", to.display());
                    let value = fs::read_to_string(&from).with_context(context)?;
                    fs::write(&to, value.trim()).with_context(context)?;
                }
            }
        }
        let own = self.unified.join(name);
        make(&own.join(PROGRAMS))?;
        if hand_on {
            hand_controllers_on(&self.unified)?;
            hand_controllers_on(&own)?;
        }
        Ok(())
    }

    /// The file that moves the process that writes to it among the node's.
    pub(super) fn entry(&self, name: &str) -> PathBuf {
        self.unified.join(name).join(PROGRAMS).join("cgroup.procs")
    }

    /// The file that ends all processes of the node when a 1 is written to it; Linux 5.14 has it.
    pub(super) fn kill_file(&self, name: &str) -> PathBuf {
        self.unified.join(name).join("cgroup.kill")
    }

    /// The file that names the controllers of the cgroup2 hierarchy.
    pub(super) fn controllers_file(&self) -> PathBuf {
        self.unified.join("cgroup.controllers")
    }

    /// How many processes the node has.
    pub(super) fn processes(&self, name: &str) -> usize {
        below(&self.unified.join(name))
            .iter()
            .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
            .map(|text| text.lines().count())
            .sum()
    }

    /// Ends all processes of the node, and waits until they are gone.
    #[expect(
        clippy::disallowed_methods,
        reason = "most of them are no children of this process, and then their end is no event here"
    )]
    pub(super) fn kill(&self, name: &str) -> Result<()> {
        let file = self.kill_file(name);
        let deadline = Instant::now() + PATIENCE;
        while self.unified.join(name).exists() {
            fs::write(&file, "1").with_context(|| format!("failed to write {}", file.display()))?;
            if self.processes(name) == 0 {
                break;
            }
            if Instant::now() > deadline {
                bail!("processes of the cgroup {name} were killed and do not go");
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// Removes the cgroups of this name, which hold no process any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "a cgroup is busy for a moment after its last process has gone, and nothing says when \
                  it is not"
    )]
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        // The claim is given back last.
        for hierarchy in self.others.iter().chain([&self.unified]) {
            let deadline = Instant::now() + PATIENCE;
            for folder in below(&hierarchy.join(name)) {
                loop {
                    match fs::remove_dir(&folder) {
                        Ok(()) => break,
                        Err(error) if error.kind() == ErrorKind::NotFound => break,
                        Err(_) if Instant::now() < deadline => std::thread::sleep(INTERVAL),
                        Err(error) => {
                            return Err(error)
                                .with_context(|| format!("failed to remove {}", folder.display()));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))
}

/// Lets the children of a cgroup use all controllers that it has itself.
fn hand_controllers_on(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.controllers");
    let controllers =
        fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let file = folder.join("cgroup.subtree_control");
    for controller in controllers.split_whitespace() {
        fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("failed to write +{controller} to {}", file.display()))?;
    }
    Ok(())
}

/// A cgroup and all below it, children first.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = next.read_dir().into_iter().flatten().flatten();
        open.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        found.push(next);
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::{Hierarchies, below};
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn hierarchies_are_found_in_the_table_of_mounts() {
        let divided = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                       cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                       cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = Hierarchies::parse(divided).unwrap();
        assert!(found.are_divided());
        assert_eq!(found.unified, PathBuf::from("/sys/fs/cgroup/unified"));
        assert_eq!(found.others, [PathBuf::from("/sys/fs/cgroup/cpu")]);
        let one = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert!(!Hierarchies::parse(one).unwrap().are_divided());
        assert_eq!(Hierarchies::parse("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn children_come_first_and_a_name_is_claimed_once() {
        let root = std::env::temp_dir().join(format!("spo-cgroups-{}", std::process::id()));
        let unified = root.join("unified");
        fs::create_dir_all(&unified).unwrap();
        let found = Hierarchies {
            unified: unified.clone(),
            others: vec![root.join("other")],
        };
        assert!(found.claim("spo-1").unwrap());
        assert!(!found.claim("spo-1").unwrap());
        fs::create_dir_all(unified.join("spo-1/a/b")).unwrap();
        let seen = below(&unified.join("spo-1"));
        let place = |end: &str| seen.iter().position(|path| path.ends_with(end)).unwrap();
        assert!(place("a/b") < place("a") && place("a") < place("spo-1"));
        found.remove("spo-1").unwrap();
        assert!(!unified.join("spo-1").exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
