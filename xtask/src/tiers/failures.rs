//! Which tests failed, and what they said, as the test programs tell it: the end of a long log is what
//! people see.

/// How many lines of what a test said are told again; the last ones have its reason.
const LINES: usize = 60;

/// The names of tests that failed: libtest lists them behind `failures:`, nextest writes
/// `FAIL [   0.1s] crate name`.
pub(super) fn names(said: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut listed = false;
    for line in said.lines() {
        let name = if listed && line.starts_with("    ") {
            Some(line.trim())
        } else {
            listed = line.trim_end() == "failures:";
            line.trim_start()
                .strip_prefix("FAIL [")
                .and_then(|rest| rest.split(']').nth(1))
                .and_then(|rest| rest.split_whitespace().last())
        };
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// What libtest showed of them, each under the line that names it.
pub(super) fn sections(said: &str, names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        // libtest-mimic leaves the word out.
        let titles = [
            format!("---- {name} stdout ----"),
            format!("---- {name} ----"),
        ];
        let found = titles
            .iter()
            .find_map(|title| Some((title, said.find(title)?)));
        let Some((title, start)) = found else {
            continue;
        };
        let section = said[start..]
            .lines()
            .skip(1)
            .take_while(|line| !line.starts_with("---- ") && line.trim_end() != "failures:");
        let lines: Vec<_> = section.collect();
        text.push('\n');
        text.push_str(title);
        text.push('\n');
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{LINES, names, sections};

    const SAID: &str = "\
test a::one ... ok
test a::two ... FAILED

successes:

---- a::one stdout ----
of the first

successes:
    a::one

failures:

---- a::two stdout ----

thread 'a::two' panicked at a.rs:1:1:
not equal

failures:
    a::two

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn the_failed_are_named_with_what_they_said() {
        assert_eq!(names(SAID), ["a::two"]);
        assert_eq!(
            sections(SAID, &["a::two", "a::gone"]),
            "\n---- a::two stdout ----\n\nthread 'a::two' panicked at a.rs:1:1:\nnot equal\n\n"
        );
        let nextest =
            "        FAIL [   0.005s] (1/9) spo-userspace b::three\n        PASS [ 0.1s] x y\n";
        assert_eq!(names(&format!("{nextest}{nextest}")), ["b::three"]);
    }

    #[test]
    fn of_much_the_end_is_told() {
        let said = format!("---- a stdout ----\n{}last\n", "line\n".repeat(1000));
        let told = sections(&said, &["a"]);
        assert!(told.ends_with("line\nlast\n"), "{told}");
        let mimic = sections("---- b::c ----\nwhy\n", &["b::c"]);
        assert_eq!(mimic, "\n---- b::c ----\nwhy\n");
        assert_eq!(told.lines().count(), 2 + LINES);
    }
}
