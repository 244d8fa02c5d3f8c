//! Which names SELinux takes.

/// Whether a profile can be called so: its name becomes the name of a block, and the compiler of
/// CIL takes no dot and no digit in front.
pub(super) fn is_block(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether a type, a class or a permission can be called so.
pub(super) fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Words that CIL reads as operators in a list of permissions.
pub(super) fn is_operator(name: &str) -> bool {
    ["all", "and", "not", "or", "xor"].contains(&name)
}

/// A dot in front only says that the name is a global one.
pub(super) fn global(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

pub(super) const BLOCK_HELP: &str =
    "the name becomes that of a policy: letters, digits, `-` and `_`, beginning with a letter";
pub(super) const LABEL_HELP: &str = "letters, digits, `.`, `-` and `_`";
