//! Where a parenthesis is missing or one too many, and that nothing makes the reader fail.

use proptest::prelude::*;
use spo::profile::diagnostic::render;
use spo::profile::selinux::{Options, read_cil, read_raw_and_lint, write_raw_cil};

use super::rules::raw;

const STATEMENTS: &[&str] = &[
    "(allow process etc_t (file (read open getattr)))",
    "(allow process etc_t ( dir ( search ) ))",
    "(type other)",
    "(typeattributeset domain (process))",
    "(typetransition process etc_t file other)",
    "; a comment with ( and \"",
    "",
];

/// Lines of two blocks, and where the first one's statements are.
fn blocks(picks: &[usize], indent: &str) -> (Vec<String>, std::ops::Range<usize>) {
    let mut lines = vec!["(block first".to_owned()];
    lines.extend(
        picks
            .iter()
            .map(|pick| format!("{indent}{}", STATEMENTS[*pick])),
    );
    lines.push(")".to_owned());
    let inside = 1..1 + picks.len();
    lines.push("(block second".to_owned());
    lines.push(format!("{indent}(type process)"));
    lines.push(")".to_owned());
    (lines, inside)
}

fn picks() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..STATEMENTS.len(), 1..40)
}

proptest! {
    /// Also in the middle of a file, and however its author indents.
    #[test]
    fn a_missing_parenthesis_is_told_where_it_opened(
        picks in picks(), at in any::<prop::sample::Index>(), indented in any::<bool>(),
    ) {
        let (mut lines, inside) = blocks(&picks, if indented { "    " } else { "" });
        let at = inside.start + at.index(inside.len());
        // The last statement of a block that is not indented could as well be the block's end.
        let is_last = lines[at + 1..inside.end].iter().all(|line| !line.ends_with(')'));
        prop_assume!(lines[at].ends_with(')') && (indented || !is_last));
        lines[at].pop();
        let text = lines.join("\n");
        let (tree, told) = read_cil("file.cil", text.as_bytes());
        prop_assert!(tree.is_none());
        prop_assert_eq!(told.len(), 1, "{:?}", told);
        prop_assert_eq!(told[0].line, at + 1, "{}", lines.join("\n"));
        prop_assert_eq!(&told[0].message, "this parenthesis is not closed");
    }

    #[test]
    fn a_parenthesis_too_many_is_told_where_it_closes(
        picks in picks(), at in any::<prop::sample::Index>(),
    ) {
        let (mut lines, inside) = blocks(&picks, "    ");
        let at = inside.start + at.index(inside.len());
        let is_last = lines[at + 1..inside.end].iter().all(|line| !line.ends_with(')'));
        prop_assume!(lines[at].ends_with(')') && !is_last);
        lines[at].push(')');
        let text = lines.join("\n");
        let (tree, told) = read_cil("file.cil", text.as_bytes());
        prop_assert!(tree.is_none());
        prop_assert_eq!(told.len(), 1, "{:?}", told);
        prop_assert_eq!(told[0].line, at + 1, "{}", lines.join("\n"));
        prop_assert_eq!(&told[0].message, "this `)` is one too many");
    }

    /// Whatever is read, nothing panics and every place is one of the file.
    #[test]
    fn any_text_is_answered(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        let text = words.concat();
        let (_, told) = read_cil("file.cil", text.as_bytes());
        for one in &told {
            prop_assert!(text.get(one.span.clone()).is_some(), "{:?}", one);
            prop_assert!(one.line >= 1 && one.line <= text.matches('\n').count() + 1);
        }
        render(&told, text.as_bytes(), false);
        if let Ok(written) = write_raw_cil("name", &raw(&text), &Options::default()) {
            let (tree, _) = read_cil("written.cil", written.as_bytes());
            prop_assert!(tree.is_some_and(|tree| tree.items().count() == 1), "{}", written);
        }
        let json = serde_json::json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "RawSelinuxProfile",
            "metadata": { "name": "name" },
            "spec": { "policy": text },
        });
        let json = serde_json::to_vec(&json).unwrap();
        let (_, told) = read_raw_and_lint("file.json", &json);
        for one in &told {
            prop_assert!(one.span.end <= json.len(), "{:?}", one);
        }
        let lines: String = text
            .split('\n')
            .flat_map(|line| ["    ", line, "\n"])
            .collect();
        let yaml = format!("{HEADER}  policy: |2+ # text\n{lines}");
        let (_, told) = read_raw_and_lint("file.yaml", yaml.as_bytes());
        for one in &told {
            prop_assert!(yaml.get(one.span.clone()).is_some(), "{:?}", one);
        }
    }
}

const HEADER: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1\n\
     kind: RawSelinuxProfile\nmetadata:\n  name: name\nspec:\n";

const WORDS: &[&str] = &[
    "(",
    "(",
    "(",
    ")",
    ")",
    ")",
    " ",
    " ",
    "\n",
    "\n",
    "  ",
    "\t",
    "\"",
    ";",
    ";;* lms 1 x\n",
    ";;* lme\n",
    "é",
    "\\",
    ".",
    "*",
    "\r\n",
    "(block a ",
    "(allow ",
    "(type ",
    "(in ",
    "(macro m ((type t)) ",
    "(call m (",
    "(typeattributeset ",
    "(typealias ",
    "(typealiasactual ",
    "(blockinherit ",
    "(typeattribute ",
    "(classpermissionset ",
    "(optional ",
    "process",
    "name_.process",
    ".name.process",
    "container_t",
    "all",
    "(and ",
    "(not ",
    "(or ",
    "(file (read))",
    "file",
];
