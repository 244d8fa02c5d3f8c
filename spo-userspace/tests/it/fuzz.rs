//! A short run of the fuzz targets: the inputs that are kept, and changed ones. It is the same in
//! every run.

use std::fs;
use std::panic;
use std::path::Path;

use spo::profile::diagnostic::Diagnostic;

#[expect(unreachable_pub, reason = "it is a crate of its own for libFuzzer")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// The longest input, as for libFuzzer in this tier.
const LONGEST: usize = 16 << 10;
const CHANGED: usize = 600;

#[test]
fn objects() {
    short_run("objects");
}

#[test]
fn seccomp() {
    short_run("seccomp");
}

#[test]
fn cil() {
    short_run("cil");
}

#[test]
fn apparmor_text() {
    short_run("apparmor_text");
}

#[test]
fn audit() {
    short_run("audit");
}

/// What makes files costly is bounded in number: the figures are in `docs/fuzzing.md`.
#[test]
fn hostile_files_are_refused() {
    for language in &targets::hostile::LANGUAGES {
        for (what, start, again) in language.files {
            for size in [100_000, 10 << 20] {
                eprintln!("{}: {what}, {size} bytes", language.name);
                let text = targets::hostile::file(start, again, size);
                let told = (language.read)(text.as_bytes());
                // 100 errors, 100 warnings, how many more there are; the text is told to be one twice.
                assert!(told.len() <= 303, "{} problems", told.len());
                let too_large = |one: &Diagnostic| one.message.contains("more than any profile");
                assert_eq!(told.iter().any(too_large), size > 4 << 20);
            }
        }
    }
}

fn short_run(name: &str) {
    let (_, target) = *targets::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("the name of a target");
    let mut kept = inputs("regressions", name);
    kept.extend(inputs("corpus", name));
    assert!(!kept.is_empty(), "fuzz/corpus/{name} is empty");
    for (file, input) in &kept {
        run(target, input, file);
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let words = dictionary(name);
    for round in 0..CHANGED {
        let (file, input) = &kept[random.below(kept.len())];
        let mut changed = input.clone();
        for _ in 0..=random.below(4) {
            let (_, other) = &kept[random.below(kept.len())];
            change(&mut changed, other, &words, &mut random);
        }
        changed.truncate(LONGEST);
        run(
            target,
            &changed,
            &format!("{file}, changed in round {round}"),
        );
    }
}

/// Says which input it was, and leaves it for a look.
fn run(target: targets::Target, input: &[u8], what: &str) {
    if let Err(panicked) = panic::catch_unwind(|| target(input)) {
        eprintln!("{what}:\n{}", input.escape_ascii());
        panic::resume_unwind(panicked);
    }
}

fn inputs(folder: &str, name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join(folder).join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let input = fs::read(&path).expect("a file that can be read");
            (path.display().to_string(), input)
        })
        .collect();
    inputs.sort();
    inputs
}

/// The words of a dictionary in libFuzzer's format.
fn dictionary(name: &str) -> Vec<Vec<u8>> {
    let path = root().join(format!("dictionaries/{name}.dict"));
    let text = fs::read_to_string(path).expect("a dictionary for each target");
    text.lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(|word| word.replace("\\x0a", "\n").replace("\\\"", "\"").into())
        .collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

/// One change: something taken out, said twice, put in, or made another byte.
fn change(input: &mut Vec<u8>, other: &[u8], words: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let to = at + random.below((input.len() - at).min(64) + 1);
    match random.below(6) {
        0 => drop(input.drain(at..to)),
        1 => {
            let piece = input[at..to].to_vec();
            input.splice(at..at, piece);
        }
        2 | 3 => drop(input.splice(at..at, words[random.below(words.len())].clone())),
        4 => {
            let from = random.below(other.len() + 1);
            input.splice(at..to, other[from..].iter().copied().take(200));
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    /// A number below another, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}
