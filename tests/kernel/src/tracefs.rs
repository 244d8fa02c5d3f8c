//! A second observer of the same run: an instance of the kernel's own tracer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// An instance of the tracer. Dropping it removes it.
pub struct Instance {
    folder: PathBuf,
}

impl Instance {
    /// Makes one that does not trace yet, with room for so many kilobytes a CPU.
    pub fn new(name: &str, kilobytes: u32) -> Self {
        let tracing = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .map(Path::new)
            .find(|path| path.join("instances").exists())
            .expect("tracefs is mounted (cargo xtask setup --tests)");
        let folder = tracing.join("instances").join(format!("spo-test-{name}"));
        if folder.exists() {
            fs::remove_dir(&folder).expect("an old instance can be removed");
        }
        fs::create_dir(&folder).expect("an instance can be made");
        let instance = Self { folder };
        instance.write("tracing_on", "0");
        instance.write("buffer_size_kb", &kilobytes.to_string());
        instance
    }

    /// Traces only these processes, with all threads that they have by now, and all that they start.
    pub fn follow(&self, processes: &[u32]) {
        self.write("options/event-fork", "1");
        let mut followed = String::new();
        loop {
            let threads: Vec<String> = processes.iter().copied().flat_map(threads).collect();
            let threads = threads.join(" ");
            if threads == followed {
                return;
            }
            // Another one may have been made meanwhile, by one that was not followed yet.
            self.write("set_event_pid", &threads);
            followed = threads;
        }
    }

    /// Switches an event on.
    pub fn enable(&self, event: &str) {
        self.write(&format!("events/{event}/enable"), "1");
    }

    /// Begins to trace.
    pub fn begin(&self) {
        self.write("tracing_on", "1");
    }

    /// Stops, and reads all of it. Nothing may have been overrun.
    pub fn end(self) -> String {
        self.write("tracing_on", "0");
        for cpu in fs::read_dir(self.folder.join("per_cpu")).expect("an instance has CPUs") {
            let stats = fs::read_to_string(cpu.expect("a CPU").path().join("stats"))
                .expect("a CPU has statistics");
            for counter in ["overrun:", "commit overrun:", "dropped events:"] {
                let line = stats
                    .lines()
                    .find(|line| line.starts_with(counter))
                    .expect("a counter");
                assert!(line.ends_with(": 0"), "the observer lost something: {line}");
            }
        }
        let text = fs::read(self.folder.join("trace")).expect("the trace can be read");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, value: &str) {
        fs::write(self.folder.join(file), value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _already_reported = fs::remove_dir(&self.folder).is_err();
    }
}

fn threads(process: u32) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{process}/task")).expect("the process is there");
    let names = folder.map(|entry| entry.expect("a thread").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// An instance that follows this process and all that it starts.
pub struct Observer(Instance);

/// What an observer saw.
#[derive(Debug, Default)]
pub struct Trace {
    /// Every call, by thread, in order: numbers as the kernel traces them.
    calls: BTreeMap<u32, Vec<i64>>,
    /// From a thread to those that it made.
    forks: BTreeMap<u32, Vec<u32>>,
    /// The first thread that called `getsid`: the held command, before it becomes the command.
    held: Option<u32>,
}

const GETSID: i64 = libc::SYS_getsid;
const EXECVE: i64 = libc::SYS_execve;

impl Observer {
    /// Starts to observe.
    pub fn start(name: &str) -> Self {
        let kilobytes = if crate::tier::is_vm() { 16384 } else { 65536 };
        let instance = Instance::new(name, kilobytes);
        // The thread that starts the command need not be the first one of this process.
        instance.follow(&[std::process::id()]);
        instance.enable("raw_syscalls/sys_enter");
        instance.enable("sched/sched_process_fork");
        instance.begin();
        Self(instance)
    }

    /// Stops, and reads all of it. Nothing may have been overrun.
    pub fn stop(self) -> Trace {
        let mut trace = Trace::default();
        for line in self.0.end().lines() {
            trace.add(line);
        }
        trace
    }
}

impl Trace {
    /// `COMM-TID   [CPU] FLAGS TIME: EVENT: ...`; a name may hold anything.
    fn add(&mut self, line: &str) {
        if let Some((before, after)) = line.split_once(": sys_enter: NR ") {
            let Some(tid) = tid(before) else { return };
            let number = after
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .expect("a number");
            self.calls.entry(tid).or_default().push(number);
            if number == GETSID && self.held.is_none() {
                self.held = Some(tid);
            }
        } else if let Some((before, after)) = line.split_once(": sched_process_fork: ") {
            let child = after
                .rsplit_once("child_pid=")
                .and_then(|(_, child)| child.trim().parse().ok());
            if let (Some(parent), Some(child)) = (tid(before), child) {
                self.forks.entry(parent).or_default().push(child);
            }
        }
    }

    /// The numbers that the command and its descendants used, from its `execve` on: of that first call, and of all
    /// after it.
    pub fn numbers(&self) -> BTreeSet<i64> {
        let held = self.held.expect("the observer saw the held command");
        let mut numbers: BTreeSet<i64> = BTreeSet::new();
        let own = &self.calls[&held];
        let announced = own
            .iter()
            .rposition(|number| *number == GETSID)
            .expect("it announced itself");
        let first = own[announced..]
            .iter()
            .position(|number| *number == EXECVE)
            .expect("it became the command");
        numbers.extend(&own[announced + first..]);
        let mut family = vec![held];
        let mut next = 0;
        while let Some(tid) = family.get(next).copied() {
            next += 1;
            for child in self.forks.get(&tid).into_iter().flatten() {
                if !family.contains(child) {
                    family.push(*child);
                    numbers.extend(self.calls.get(child).into_iter().flatten());
                }
            }
        }
        numbers
    }

    /// How many calls were seen in all.
    pub fn len(&self) -> usize {
        self.calls.values().map(Vec::len).sum()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The thread of a line, from what stands before the event's name.
pub fn tid(before: &str) -> Option<u32> {
    let cpu = before.rfind(" [")?;
    before[..cpu].trim_end().rsplit_once('-')?.1.parse().ok()
}
