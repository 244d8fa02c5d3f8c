//! What entered a container, compared with what its pod names.

use std::fmt;

/// The arguments of the first program that a task executed in a container, as far as they fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Command {
    /// With a zero byte after each.
    arguments: Vec<u8>,
    /// Whether there is more.
    cut: bool,
}

impl Command {
    /// The arguments as the kernel keeps them, of which there are more if they are `cut`.
    pub fn new(arguments: &[u8], cut: bool) -> Self {
        let mut arguments = arguments.to_owned();
        if !cut && !arguments.ends_with(&[0]) {
            arguments.push(0);
        }
        Self { arguments, cut }
    }

    /// Whether a command that a pod names became this one. Of a script, the kernel has made the
    /// arguments of its interpreter, with the script's path after at most one option.
    pub fn is(&self, argv: &[String]) -> bool {
        let mut own = &self.arguments[..];
        for _ in 0..3 {
            if self.fits(own, argv) {
                return true;
            }
            match own.iter().position(|byte| *byte == 0) {
                Some(end) => own = &own[end + 1..],
                None => return false,
            }
        }
        false
    }

    fn fits(&self, own: &[u8], argv: &[String]) -> bool {
        let Some((program, rest)) = argv.split_first() else {
            return false;
        };
        let (first, tail) = match own.iter().position(|byte| *byte == 0) {
            Some(end) => (&own[..end], &own[end + 1..]),
            // Too little to know it by.
            None => return false,
        };
        let wanted: Vec<u8> = rest
            .iter()
            .flat_map(|argument| argument.bytes().chain([0]))
            .collect();
        base(first) == base(program.as_bytes())
            && if self.cut {
                wanted.len() > tail.len() && wanted.starts_with(tail)
            } else {
                wanted == tail
            }
    }
}

/// The name without its folder: a program is looked for in `PATH`, and a script is known by its path.
fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = self.arguments.strip_suffix(&[0]);
        let arguments = arguments.unwrap_or(&self.arguments);
        for (index, argument) in arguments.split(|byte| *byte == 0).enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            write!(formatter, "{}", argument.escape_ascii())?;
        }
        formatter.write_str(if self.cut { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argv(arguments: &[&str]) -> Vec<String> {
        arguments.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn commands_of_probes() {
        let long = "x".repeat(200);
        for (seen, cut, named, is) in [
            ("cat\0/tmp/ready\0", false, &["cat", "/tmp/ready"][..], true),
            ("cat\0/tmp/ready", false, &["cat", "/tmp/ready"], true),
            (
                "/bin/cat\0/tmp/ready\0",
                false,
                &["cat", "/tmp/ready"],
                true,
            ),
            ("cat\0/tmp/other\0", false, &["cat", "/tmp/ready"], false),
            (
                "cat\0/tmp/ready\0more\0",
                false,
                &["cat", "/tmp/ready"],
                false,
            ),
            ("cat\0", false, &["cat", "/tmp/ready"], false),
            ("sh\0-c\0a b\0", false, &["sh", "-c", "a b"], true),
            (
                "/bin/sh\0/opt/probe.sh\0-x\0",
                false,
                &["probe.sh", "-x"],
                true,
            ),
            (
                "/bin/sh\0-e\0/opt/probe.sh\0-x\0",
                false,
                &["/opt/probe.sh", "-x"],
                true,
            ),
            (
                "/bin/sh\0-e\0-f\0/opt/probe.sh\0",
                false,
                &["/opt/probe.sh"],
                false,
            ),
            ("sh\0-c\0xxxx", true, &["sh", "-c", &long], true),
            ("sh\0-c\0xxxy", true, &["sh", "-c", &long], false),
            ("sh\0-c\0xxxx", true, &["sh", "-c", "xx"], false),
            ("sh", true, &["sh"], false),
            ("", false, &["sh"], false),
            ("sh\0", false, &[], false),
        ] {
            let command = Command::new(seen.as_bytes(), cut);
            assert_eq!(command.is(&argv(named)), is, "{seen:?} {named:?}");
        }
    }

    #[test]
    fn what_another_chose_is_escaped() {
        let command = Command::new(b"sh\0-c\0\x1b[31m\xff\0", false);
        assert_eq!(command.to_string(), r"sh -c \x1b[31m\xff");
        assert_eq!(Command::new(b"sh\0-", true).to_string(), "sh -...");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_command_is_itself_and_withstands_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..130),
            argv in prop::collection::vec("[a-z /]{1,6}", 1..5),
            cut in any::<bool>(),
        ) {
            let command = Command::new(&bytes, cut);
            command.is(&argv);
            let whole = argv.join("\0");
            prop_assert!(Command::new(whole.as_bytes(), false).is(&argv));
        }
    }
}
