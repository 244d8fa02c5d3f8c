//! The statements of CIL, with the form of their arguments.

/// A statement.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: &'static str,
    /// One letter an argument: `n` a name, `l` a list, `e` either, `a` a class with its
    /// permissions or a name for that. Behind `?` they may be missing; `s` stands for any number of
    /// statements.
    pub(super) form: &'static str,
    /// How it is written.
    pub(super) usage: &'static str,
}

/// The statement of a name.
pub(super) fn find(name: &str) -> Option<&'static Statement> {
    let index = STATEMENTS
        .binary_search_by_key(&name, |statement| statement.name)
        .ok()?;
    Some(&STATEMENTS[index])
}

/// The names of all statements.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    STATEMENTS.iter().map(|statement| statement.name)
}

impl Statement {
    /// Whether other statements stand inside.
    pub(super) fn holds_statements(&self) -> bool {
        self.form.ends_with('s')
    }
}

const fn row(name: &'static str, form: &'static str, usage: &'static str) -> Statement {
    Statement { name, form, usage }
}

const STATEMENTS: &[Statement] = &[
    row("allow", "nna", "SOURCE TARGET (CLASS (PERMISSION ...))"),
    row("allowx", "nne", "SOURCE TARGET (ioctl CLASS (NUMBER ...))"),
    row(
        "auditallow",
        "nna",
        "SOURCE TARGET (CLASS (PERMISSION ...))",
    ),
    row(
        "auditallowx",
        "nne",
        "SOURCE TARGET (ioctl CLASS (NUMBER ...))",
    ),
    row("block", "ns", "NAME STATEMENT ..."),
    row("blockabstract", "n", "BLOCK"),
    row("blockinherit", "n", "BLOCK"),
    row("boolean", "nn", "NAME true|false"),
    row(
        "booleanif",
        "es",
        "EXPRESSION (true STATEMENT ...) (false STATEMENT ...)",
    ),
    row("call", "n?l", "MACRO (ARGUMENT ...)"),
    row("category", "n", "NAME"),
    row("categoryalias", "n", "NAME"),
    row("categoryaliasactual", "nn", "ALIAS CATEGORY"),
    row("categoryorder", "l", "(CATEGORY ...)"),
    row("categoryset", "ne", "NAME EXPRESSION"),
    row("class", "nl", "NAME (PERMISSION ...)"),
    row("classcommon", "nn", "CLASS COMMON"),
    row("classmap", "nl", "NAME (PERMISSION ...)"),
    row(
        "classmapping",
        "nna",
        "CLASSMAP PERMISSION (CLASS (PERMISSION ...))",
    ),
    row("classorder", "l", "(CLASS ...)"),
    row("classpermission", "n", "NAME"),
    row("classpermissionset", "na", "NAME (CLASS (PERMISSION ...))"),
    row("common", "nl", "NAME (PERMISSION ...)"),
    row("constrain", "ae", "(CLASS (PERMISSION ...)) EXPRESSION"),
    row("context", "nl", "NAME (USER ROLE TYPE LEVELRANGE)"),
    row(
        "defaultrange",
        "en?n",
        "CLASS source|target|glblub low|high|low-high",
    ),
    row("defaultrole", "en", "CLASS source|target"),
    row("defaulttype", "en", "CLASS source|target"),
    row("defaultuser", "en", "CLASS source|target"),
    row("deny", "nna", "SOURCE TARGET (CLASS (PERMISSION ...))"),
    row("devicetreecon", "ne", "PATH CONTEXT"),
    row("dontaudit", "nna", "SOURCE TARGET (CLASS (PERMISSION ...))"),
    row(
        "dontauditx",
        "nne",
        "SOURCE TARGET (ioctl CLASS (NUMBER ...))",
    ),
    row("expandtypeattribute", "en", "ATTRIBUTE true|false"),
    row("false", "s", "STATEMENT ..."),
    row("filecon", "nee", "PATH file|dir|any|... CONTEXT"),
    row("fsuse", "nne", "xattr|task|trans FILESYSTEM CONTEXT"),
    row("genfscon", "nee?e", "FILESYSTEM PATH CONTEXT"),
    row("handleunknown", "n", "allow|deny|reject"),
    row("ibendportcon", "nne", "DEVICE PORT CONTEXT"),
    row("ibpkeycon", "nee", "SUBNET PKEY CONTEXT"),
    row("in", "n?ns", "BLOCK STATEMENT ..."),
    row("iomemcon", "ee", "ADDRESS CONTEXT"),
    row("ioportcon", "ee", "PORT CONTEXT"),
    row("ipaddr", "nn", "NAME ADDRESS"),
    row("level", "nl", "NAME (SENSITIVITY (CATEGORY ...))"),
    row("levelrange", "nl", "NAME (LOW HIGH)"),
    row("macro", "nls", "NAME ((KIND PARAMETER) ...) STATEMENT ..."),
    row("mls", "n", "true|false"),
    row("mlsconstrain", "ae", "(CLASS (PERMISSION ...)) EXPRESSION"),
    row("mlsvalidatetrans", "ne", "CLASS EXPRESSION"),
    row("netifcon", "nee", "INTERFACE CONTEXT CONTEXT"),
    row(
        "neverallow",
        "nna",
        "SOURCE TARGET (CLASS (PERMISSION ...))",
    ),
    row(
        "neverallowx",
        "nne",
        "SOURCE TARGET (ioctl CLASS (NUMBER ...))",
    ),
    row("nodecon", "eee", "ADDRESS MASK CONTEXT"),
    row("optional", "ns", "NAME STATEMENT ..."),
    row("pcidevicecon", "ne", "DEVICE CONTEXT"),
    row("permissionx", "nl", "NAME (ioctl CLASS (NUMBER ...))"),
    row("pirqcon", "ne", "NUMBER CONTEXT"),
    row("policycap", "n", "NAME"),
    row("portcon", "nee", "tcp|udp|... PORT CONTEXT"),
    row("rangetransition", "nnne", "SOURCE TARGET CLASS LEVELRANGE"),
    row("role", "n", "NAME"),
    row("roleallow", "nn", "ROLE ROLE"),
    row("roleattribute", "n", "NAME"),
    row("roleattributeset", "ne", "ATTRIBUTE (ROLE ...)"),
    row("rolebounds", "nn", "PARENT CHILD"),
    row("roletransition", "nnnn", "ROLE TYPE CLASS ROLE"),
    row("roletype", "nn", "ROLE TYPE"),
    row("selinuxuser", "nne", "LOGIN USER RANGE"),
    row("selinuxuserdefault", "ne", "USER RANGE"),
    row("sensitivity", "n", "NAME"),
    row("sensitivityalias", "n", "NAME"),
    row("sensitivityaliasactual", "nn", "ALIAS SENSITIVITY"),
    row("sensitivitycategory", "ne", "SENSITIVITY (CATEGORY ...)"),
    row("sensitivityorder", "l", "(SENSITIVITY ...)"),
    row("sid", "n", "NAME"),
    row("sidcontext", "ne", "SID CONTEXT"),
    row("sidorder", "l", "(SID ...)"),
    row("true", "s", "STATEMENT ..."),
    row("tunable", "nn", "NAME true|false"),
    row(
        "tunableif",
        "es",
        "EXPRESSION (true STATEMENT ...) (false STATEMENT ...)",
    ),
    row("type", "n", "NAME"),
    row("typealias", "n", "NAME"),
    row("typealiasactual", "nn", "ALIAS TYPE"),
    row("typeattribute", "n", "NAME"),
    row("typeattributeset", "ne", "ATTRIBUTE (TYPE ...)"),
    row("typebounds", "nn", "PARENT CHILD"),
    row("typechange", "nnnn", "SOURCE TARGET CLASS TYPE"),
    row("typemember", "nnnn", "SOURCE TARGET CLASS TYPE"),
    row("typeneveraudit", "n", "TYPE"),
    row("typepermissive", "n", "TYPE"),
    row(
        "typetransition",
        "nnnn?nn",
        "SOURCE TARGET CLASS [NAME] TYPE",
    ),
    row("user", "n", "NAME"),
    row("userattribute", "n", "NAME"),
    row("userattributeset", "ne", "ATTRIBUTE (USER ...)"),
    row("userbounds", "nn", "PARENT CHILD"),
    row("userlevel", "ne", "USER LEVEL"),
    row("userprefix", "nn", "USER PREFIX"),
    row("userrange", "ne", "USER LEVELRANGE"),
    row("userrole", "nn", "USER ROLE"),
    row("validatetrans", "ne", "CLASS EXPRESSION"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_unique_and_well_formed() {
        assert!(STATEMENTS.is_sorted_by(|left, right| left.name < right.name));
        for Statement { name, form, usage } in STATEMENTS {
            assert!(
                form.bytes().all(|letter| b"nlea?s".contains(&letter)),
                "{name}"
            );
            assert!(!form[..form.len() - 1].contains('s'), "{name}");
            assert!(!usage.is_empty(), "{name}");
        }
    }
}
