use spo::bpf::kernel::Kernel;
use spo::bpf::recorder::*;
use std::io::Write;
fn main() -> anyhow::Result<()> {
    let t = std::time::Instant::now();
    let k = Kernel::probe()?;
    eprintln!("probe {:?}", t.elapsed());
    let which = std::env::args().nth(1).unwrap_or_default();
    let nonce = 0x1234567;
    let target = match which.as_str() { "ns" => Target::NewNamespaces, "all" => Target::AllNamespaces{except: { use std::os::unix::fs::MetadataExt; std::fs::metadata("/proc/1/ns/mnt")?.ino() as u32}}, "tree" => Target::Tree{tgid: std::process::id()}, _ => Target::Command{nonce}};
    let t = std::time::Instant::now();
    let r = Recorder::start(&k, target, Limits::for_target(target, 32768))?;
    eprintln!("start {:?}", t.elapsed());
    let mut sh = std::process::Command::new("unshare").args(["-mpf","--mount-proc","ls","/proc/self"]).spawn()?;
    sh.wait()?;
    let st = std::process::Command::new("python3").args(["-c", &format!("import os,ctypes; ctypes.CDLL(None).getsid({nonce}); os.execvp('ls',['ls','-d','/'])")]).status()?;
    eprintln!("{st} armed {}", r.is_armed()?);
    let t = std::time::Instant::now();
    let mut n=0;
    let o = r.finish(|_| n+=1)?;
    eprintln!("finish {:?} events {n}", t.elapsed());
    println!("{:?}", o.losses);
    for s in &o.subjects { println!("{} {:?} {} {} filtered {} executed {} : {:?}", s.index, s.phase, s.comm, s.namespace_id, s.filtered, s.executed, s.calls.iter().map(|c| c.number).collect::<Vec<_>>()); }
    std::io::stdout().flush()?;
    Ok(())
}
