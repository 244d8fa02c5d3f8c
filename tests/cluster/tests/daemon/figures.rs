//! What it costs.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::world::{World, allows};

const STATUSES: &str = "securityprofilenodestatuses";
/// A hundred, as many as programs make.
const CALLS: &str = "\
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk \
    rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access \
    pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 \
    pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept \
    sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername \
    socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill uname \
    semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync \
    truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link \
    unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday \
    getrlimit getrusage sysinfo";

#[tokio::test]
async fn a_profile_costs_two_requests_and_an_event() -> Result<()> {
    const COUNT: u32 = 20;
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("first", &allows(&["read"])).await?;
    world.is_installed("first").await?;
    world.event("first", "SavedSeccompProfile").await?;
    let before = Requests::so_far(&world).await?;
    for number in 0..COUNT {
        world
            .apply(&format!("p{number}"), &allows(&["read"]))
            .await?;
    }
    for number in 0..COUNT {
        world.is_installed(&format!("p{number}")).await?;
    }
    // What would be written twice, is written soon.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = Requests::so_far(&world).await?;
    let per_profile = |after: f64, before: f64| (after - before) / f64::from(COUNT);
    let created = per_profile(after.created, before.created);
    let patched = per_profile(after.patched, before.patched);
    let events = per_profile(after.events, before.events);
    println!("requests per profile: {created} created, {patched} patched, {events} events");
    assert!((created - 1.0).abs() < 0.001, "{created}");
    assert!((patched - 1.0).abs() < 0.001, "{patched}");
    assert!(events <= 1.001, "{events}");
    world.remove().await
}

struct Requests {
    created: f64,
    patched: f64,
    events: f64,
}

impl Requests {
    async fn so_far(world: &World) -> Result<Self> {
        Ok(Self {
            created: world.requests("POST", STATUSES).await?,
            patched: world.requests("PATCH", STATUSES).await?,
            events: world.requests("POST", "events").await?,
        })
    }
}

/// Not part of the suite: `cargo test -p spo-cluster-tests --test daemon -- --ignored`.
#[tokio::test]
#[ignore = "takes minutes, and its figures need an idle machine"]
async fn figures() -> Result<()> {
    let world = World::new().await?;
    let daemon = world.start()?;
    let calls: Vec<_> = CALLS.split_whitespace().collect();
    world.apply("first", &allows(&calls)).await?;
    world.is_installed("first").await?;
    let mut times = Vec::new();
    for number in 0..100 {
        let name = format!("one{number}");
        let start = Instant::now();
        world.apply(&name, &allows(&calls)).await?;
        world.is(&name, "Installed", "").await?;
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "from apply to Installed, one by one: median {:?}, p99 {:?} (asked every 20 ms)",
        times[50], times[98]
    );
    let before = Requests::so_far(&world).await?;
    let start = Instant::now();
    for number in 0..1000 {
        world
            .apply(&format!("all{number}"), &allows(&calls))
            .await?;
    }
    println!("1000 profiles made in {:?}", start.elapsed());
    for number in 0..1000 {
        world.is(&format!("all{number}"), "Installed", "").await?;
    }
    println!("and installed after {:?}", start.elapsed());
    let after = Requests::so_far(&world).await?;
    println!(
        "requests: {} created, {} patched, {} events",
        after.created - before.created,
        after.patched - before.patched,
        after.events - before.events
    );
    println!(
        "with 1101 profiles of 100 calls: {}",
        memory(daemon.child.id())?
    );
    drop(daemon);
    let daemon = world.start()?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("after a restart: {}", memory(daemon.child.id())?);
    world.remove().await
}

fn memory(process: u32) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let lines = status.lines().filter(|line| {
        ["VmRSS", "VmHWM", "RssAnon", "RssFile"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    let lines: Vec<_> = lines.map(|line| line.replace('\t', " ")).collect();
    Ok(lines.join(", "))
}
