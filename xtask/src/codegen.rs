//! `cargo xtask codegen`: the system call tables of `spo-userspace/src/profile/syscalls/`, and the
//! custom resource definitions of `deploy/crds/`.
//!
//! Of the tables, the source are the `asm/unistd*.h` headers in Debian's package linux-libc-dev: the newest suite's
//! carries those of every architecture, and a package has a version to cite. It is fetched
//! through the machine's own package manager, with a state folder of ours, so that nothing of
//! the system changes, and kept in the user's cache folder.

mod crds;
mod package;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use self::package::{PACKAGE, Package};

/// x32 calls are numbered with this bit set. The tables leave it out.
const X32_BIT: u32 = 0x4000_0000;

/// Where a table comes from.
struct Source {
    module: &'static str,
    title: &'static str,
    /// The folder of the architecture in the package, and the headers to read in it.
    folder: &'static str,
    headers: &'static [&'static str],
    /// What the reader of the table has to know.
    note: &'static [&'static str],
}

const SOURCES: [Source; 8] = [
    Source::new("x86_64", "x86_64-linux-gnu", &["unistd_64.h"]),
    Source {
        title: "i386",
        ..Source::new("x86", "i386-linux-gnu", &["unistd_32.h"])
    },
    Source {
        note: &["The numbers are without the bit `0x4000_0000` that marks x32 calls at run time."],
        ..Source::new("x32", "x86_64-linux-gnu", &["unistd_x32.h"])
    },
    Source::new("aarch64", "aarch64-linux-gnu", &["unistd_64.h"]),
    Source {
        note: &[
            "The numbers are those of the EABI.",
            "The calls from `0xf_0000` on are private to arm. The header calls them `__ARM_NR_*`; here",
            "they have the names that libseccomp, and so every runtime, uses: `cacheflush`, `set_tls`.",
        ],
        ..Source::new("arm", "arm-linux-gnueabihf", &["unistd-eabi.h", "unistd.h"])
    },
    Source::new("riscv64", "riscv64-linux-gnu", &["unistd_64.h"]),
    Source::new("s390x", "s390x-linux-gnu", &["unistd_64.h"]),
    Source::new("ppc64le", "powerpc64le-linux-gnu", &["unistd_64.h"]),
];

impl Source {
    const fn new(
        module: &'static str,
        folder: &'static str,
        headers: &'static [&'static str],
    ) -> Self {
        Self {
            module,
            title: module,
            folder,
            headers,
            note: &[],
        }
    }

    /// The headers' paths inside the package.
    fn paths(&self) -> impl Iterator<Item = String> {
        self.headers
            .iter()
            .map(|header| format!("usr/include/{}/asm/{header}", self.folder))
    }
}

/// Writes the tables and the definitions, or with `check` compares them with their source.
///
/// A check that cannot be made says why on standard error and is no failure: a machine without
/// Debian's packages can still build and test everything else.
pub(crate) fn run(check: bool) -> Result<()> {
    if !check {
        crds::write()?;
        return write();
    }
    match self::check()? {
        Outcome::Fresh { version } => {
            eprintln!("codegen: the tables are those of {PACKAGE} {version}");
        }
        Outcome::Newer { version, calls } => eprintln!(
            "codegen: {PACKAGE} {version} confirms the tables and has {calls} more calls: \
             `cargo xtask codegen` takes them in"
        ),
        Outcome::Skipped { reason } => eprintln!("codegen: check skipped: {reason}"),
    }
    Ok(())
}

/// What a check found. A difference is an error instead.
pub(crate) enum Outcome {
    /// The tables are exactly what this version of the package gives.
    Fresh {
        /// The version that the tables cite.
        version: String,
    },
    /// The cited version is no longer to be had, and the newest one contradicts nothing. When to
    /// take its new calls in is ours to choose, so that no release of Debian's breaks a build.
    Newer {
        /// The newest version.
        version: String,
        /// How many calls it has that the tables lack.
        calls: usize,
    },
    /// There is no package to compare with.
    Skipped {
        /// Why there is none.
        reason: String,
    },
}

/// Writes what is in `deploy/` anew.
pub(crate) fn deploy() -> Result<()> {
    crds::write()
}

/// Compares the definitions with the types that they come from, and the tables with the package
/// that they cite, or with the newest one.
pub(crate) fn check() -> Result<Outcome> {
    crds::check()?;
    let mut texts = Vec::new();
    for source in &SOURCES {
        let path = table_path(source)?;
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "failed to read {}: rerun `cargo xtask codegen`",
                path.display()
            )
        })?;
        texts.push(text);
    }
    let cited = cited_version(&texts).context("rerun `cargo xtask codegen`")?;
    let package = match Package::cached(&cited) {
        Some(package) => package,
        None => match Package::fetch_newest() {
            Ok(package) => package,
            Err(error) => {
                return Ok(Outcome::Skipped {
                    reason: format!("{error:#}"),
                });
            }
        },
    };
    let mut more = 0;
    for (source, text) in SOURCES.iter().zip(&texts) {
        let fresh = render(source, &cited, &Table::of(&package, source)?);
        if package.version == cited {
            ensure!(
                fresh == *text,
                "the table of {} is not what {PACKAGE} {cited} gives: rerun `cargo xtask codegen`",
                source.title
            );
        } else {
            let lost = text
                .lines()
                .find(|line| !fresh.lines().any(|fresh| fresh == *line));
            ensure!(
                lost.is_none(),
                "the table of {} has `{}`, and {PACKAGE} {} does not: rerun `cargo xtask codegen`",
                source.title,
                lost.unwrap_or_default().trim(),
                package.version
            );
            more += fresh.lines().count() - text.lines().count();
        }
    }
    if package.version == cited {
        return Ok(Outcome::Fresh { version: cited });
    }
    Ok(Outcome::Newer {
        version: package.version,
        calls: more,
    })
}

fn write() -> Result<()> {
    let package = Package::fetch_newest()?;
    for source in &SOURCES {
        let path = table_path(source)?;
        let text = render(source, &package.version, &Table::of(&package, source)?);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        eprintln!("codegen: wrote {}", path.display());
    }
    eprintln!(
        "codegen: the tables are those of {PACKAGE} {}",
        package.version
    );
    Ok(())
}

fn table_path(source: &Source) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent folder")?;
    Ok(root
        .join("spo-userspace/src/profile/syscalls")
        .join(format!("{}.rs", source.module)))
}

/// The version that all tables cite.
fn cited_version(texts: &[String]) -> Result<String> {
    let mut versions = texts.iter().map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix(CITATION))?;
        line.split_once(',').map(|(version, _)| version)
    });
    let first = versions
        .next()
        .flatten()
        .context("a table cites no version of its source")?;
    ensure!(
        versions.all(|other| other == Some(first)),
        "the tables cite different versions"
    );
    Ok(first.to_owned())
}

const CITATION: &str = "//! Source: Debian's package linux-libc-dev ";

/// The text of one table.
fn render(source: &Source, version: &str, table: &Table) -> String {
    let mut text = format!(
        "//! System calls of `{}`. Generated by `cargo xtask codegen`: do not edit.\n//!\n",
        source.title
    );
    for (index, path) in source.paths().enumerate() {
        match index {
            0 => write!(text, "{CITATION}{version},\n//! {path}"),
            _ => write!(text, ",\n//! {path}"),
        }
        .expect("a string takes any text");
    }
    text.push_str(".\n");
    for (index, line) in source.note.iter().enumerate() {
        let gap = if index == 0 { "//!\n" } else { "" };
        writeln!(text, "{gap}//! {line}").expect("a string takes any text");
    }
    text.push_str(
        "\n/// Numbers and names, by number.\npub(super) const CALLS: &[(u32, &str)] = &[\n",
    );
    for (number, name) in &table.calls {
        writeln!(text, "    ({}, \"{name}\"),", literal(*number)).expect("a string takes any text");
    }
    text.push_str("];\n\n/// Further names of calls, by name.\npub(super) const ALIASES: &[(&str, &str)] = &[");
    let aliases: Vec<_> = table
        .aliases
        .iter()
        .map(|(alias, name)| format!("(\"{alias}\", \"{name}\")"))
        .collect();
    text.push_str(&aliases.join(", "));
    text.push_str("];\n");
    text
}

/// A number as clippy wants long ones.
fn literal(number: u32) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    format!("0x{:x}_{:04x}", number >> 16, number & 0xffff)
}

/// What the headers of one architecture say.
#[derive(Debug, Default, PartialEq)]
struct Table {
    calls: BTreeMap<u32, String>,
    aliases: BTreeMap<String, String>,
}

impl Table {
    fn of(package: &Package, source: &Source) -> Result<Self> {
        let mut table = Self::default();
        for path in source.paths() {
            table
                .read(&package.read(&path)?)
                .with_context(|| format!("failed to read {path}"))?;
        }
        let count = table.calls.len();
        ensure!(count > 300, "only {count} calls found for {}", source.title);
        Ok(table)
    }

    /// Takes in the definitions of one header.
    ///
    /// The forms are few: a number, a base plus a number, another call. Anything else is an
    /// error, so that a new form in a later kernel is not dropped without a word.
    fn read(&mut self, header: &str) -> Result<()> {
        for line in header.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("#define") {
                continue;
            }
            let Some(macro_name) = words.next() else {
                continue;
            };
            let value: String = words.collect();
            let Some((name, private)) = call_name(macro_name) else {
                continue;
            };
            if let Some(target) = value.strip_prefix("__NR_") {
                self.aliases.insert(name.to_owned(), target.to_owned());
                continue;
            }
            let number = evaluate(&value, private)
                .with_context(|| format!("failed to understand the definition `{line}`"))?;
            if let Some(other) = self.calls.insert(number, name.to_owned()) {
                bail!("{number} is both {other} and {name}");
            }
        }
        for target in self.aliases.values() {
            ensure!(
                self.calls.values().any(|name| name == target),
                "an alias names no call: {target}"
            );
        }
        Ok(())
    }
}

/// The call's name, and whether it counts from arm's private base.
///
/// Macros in capitals are bases and masks.
fn call_name(macro_name: &str) -> Option<(&str, bool)> {
    let (name, private) = match macro_name.strip_prefix("__ARM_NR_") {
        Some(name) => (name, true),
        None => (macro_name.strip_prefix("__NR_")?, false),
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(is_name).then_some((name, private))
}

/// The number of a definition's value, which has no spaces left.
fn evaluate(value: &str, private: bool) -> Option<u32> {
    let inner = value
        .strip_prefix('(')
        .and_then(|value| value.strip_suffix(')'))
        .unwrap_or(value);
    let (base, offset) = match inner.split_once('+') {
        None => (0, inner),
        Some(("__NR_SYSCALL_BASE" | "__X32_SYSCALL_BIT", offset)) => (0, offset),
        Some(("__ARM_NR_BASE", offset)) if private => (0xf_0000, offset),
        Some(_) => return None,
    };
    let number = match offset.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => offset.parse().ok()?,
    };
    Some((base + number) & !X32_BIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_of_definition() {
        let mut table = Table::default();
        table
            .read(
                "#define __NR_OABI_SYSCALL_BASE\t0x900000\n\
                 #define __NR_SYSCALL_MASK 0x0fffff\n\
                 #define __NR_read 0\n\
                 #define __NR_execve (__X32_SYSCALL_BIT + 520)\n\
                 #define __NR_arm_sync_file_range (__NR_SYSCALL_BASE + 341)\n\
                 #define __NR_sync_file_range2\t\t__NR_arm_sync_file_range\n\
                 #define __ARM_NR_BASE (__NR_SYSCALL_BASE+0x0f0000)\n\
                 #define __ARM_NR_cacheflush\t(__ARM_NR_BASE+2)\n",
            )
            .unwrap();
        let calls: Vec<_> = table
            .calls
            .iter()
            .map(|(number, name)| (*number, name.as_str()))
            .collect();
        assert_eq!(
            calls,
            [
                (0, "read"),
                (341, "arm_sync_file_range"),
                (520, "execve"),
                (0xf_0002, "cacheflush")
            ]
        );
        assert_eq!(table.aliases["sync_file_range2"], "arm_sync_file_range");
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for header in [
            "#define __NR_new (__NEW_BASE + 1)",
            "#define __NR_new",
            "#define __NR_one 1\n#define __NR_uno 1",
            "#define __NR_new __NR_nowhere",
        ] {
            assert!(Table::default().read(header).is_err(), "{header}");
        }
    }
}
