//! Makes rare system calls in all the ways in which a program can make calls. The tests of the recorder run it.
//!
//! The first argument says in which way, and the others which calls: names of `spo_kernel_tests::probe::RARE`.

mod abis;
mod calls;
mod exec;
mod family;
mod many;
mod moments;
mod preempt;
mod privileged;
mod runtime;
mod tree;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["one", names @ ..] => {
            for name in names {
                calls::rare(name);
            }
            calls::leave()
        }
        ["exit", code] => return code.parse::<u8>().map_or(ExitCode::FAILURE, ExitCode::from),
        ["strict", mode] => calls::strict(calls::size(mode)),
        ["forever", name] => moments::forever(name, 60),
        ["forever", name, seconds] => moments::forever(name, calls::size(seconds)),
        ["chain", mine, childs] => exec::chain(mine, childs),
        ["moments", names @ ..] => moments::run(names),
        ["again", name, times] => {
            for _ in 0..calls::size(times) {
                calls::rare(name);
            }
            calls::leave()
        }
        ["churn", count, parallel, names @ ..] => {
            many::churn(calls::size(count), calls::size(parallel), names);
        }
        ["rejoin", mine, childs] => runtime::rejoin(mine, childs),
        ["burst"] => many::burst(),
        ["swarm", count, parallel] => many::swarm(calls::size(count), calls::size(parallel)),
        ["bomb", depth] => many::bomb(calls::size(depth)),
        ["exec-from-thread", how, names @ ..] => exec::from_thread(how, names),
        ["hop", left, name] => exec::hop(calls::size(left), name),
        ["abis", names @ ..] => abis::run(names),
        ["numbers", numbers @ ..] => abis::numbers(numbers),
        ["family", names @ ..] => family::run(names),
        ["daemon", file, name] => family::daemon(file, name),
        ["preempt", seconds, names @ ..] => preempt::run(calls::size(seconds), names),
        ["privileged", folder, steps @ ..] => privileged::run(folder, steps),
        ["tree", names @ ..] => tree::run(names),
        ["container", how, setup, hook, workload @ ..] => {
            runtime::container(how, setup, hook, workload);
        }
        _ => panic!("nobody knows how to make calls this way: {words:?}"),
    }
    ExitCode::SUCCESS
}
