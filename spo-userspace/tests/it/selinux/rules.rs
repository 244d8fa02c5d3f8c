//! What policies may say: names, deny lists, inheritance, and the borders of raw profiles.

use std::collections::BTreeMap;

use spo::profile::selinux::{
    Allow, Finding, Inherit, InheritKind, Mode, Options, RawSelinuxSpec, SelinuxSpec,
    check_inherits, check_raw_restrictions, check_restrictions, usage, write_cil, write_raw_cil,
};
use spo::profile::state::State;

pub(super) fn allow(rights: &[(&str, &str, &[&str])]) -> Allow {
    let mut allow = Allow::new();
    for (target, class, permissions) in rights {
        let classes = allow.entry((*target).to_owned()).or_default();
        classes.insert(
            (*class).to_owned(),
            permissions.iter().map(|one| (*one).to_owned()).collect(),
        );
    }
    allow
}

fn profile(name: &str) -> Inherit {
    Inherit {
        kind: InheritKind::SelinuxProfile,
        name: name.to_owned(),
    }
}

fn texts(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|one| format!("{}: {}", one.path, one.message))
        .collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_lines_of_a_policy_are_in_order() {
    let spec = SelinuxSpec {
        mode: Mode::Permissive,
        inherit: vec![
            Inherit::system("net_container"),
            Inherit::system("container"),
        ],
        allow: allow(&[
            ("var_log_t", "file", &["write", "append", "write"]),
            ("var_log_t", "dir", &["search"]),
            ("@self", "tcp_socket", &["listen"]),
            ("etc_t", "file", &[]),
        ]),
        ..SelinuxSpec::default()
    };
    let options = Options {
        allowed_system_profiles: owned(&["container", "net_container"]),
        ..Options::default()
    };
    insta::assert_snapshot!(write_cil("errorlogger", &spec, &options).unwrap(), @r"
    (block errorlogger
    (blockinherit container)
    (blockinherit net_container)
    (typepermissive process)
    (allow process errorlogger.process ( tcp_socket ( listen )))
    (allow process var_log_t ( dir ( search )))
    (allow process var_log_t ( file ( append write )))
    )
    ");
    let spec = SelinuxSpec {
        inherit: vec![
            profile("base"),
            Inherit::system("net_container"),
            Inherit::system("container"),
        ],
        ..SelinuxSpec::default()
    };
    insta::assert_snapshot!(write_cil("errorlogger", &spec, &options).unwrap(), @r"
    (block errorlogger
    (blockinherit net_container)
    (blockinherit base)
    )
    ");
    assert_eq!(usage("errorlogger"), "errorlogger.process");
}

#[test]
fn deny_lists() {
    let spec = SelinuxSpec {
        inherit: vec![Inherit::system("net_container"), profile("base")],
        allow: allow(&[
            ("kernel_t", "file", &["read"]),
            (".shadow_t", "file", &["read"]),
            ("etc_t", "capability", &["chown"]),
            ("etc_t", "file", &["mounton", "read", "relabelto"]),
            ("tmp_t", "file", &["all"]),
            ("usr_t", "dir", &["not", "read"]),
            ("secret_t", "wine", &["pour"]),
        ]),
        ..SelinuxSpec::default()
    };
    let built_in = Options::default();
    insta::assert_snapshot!(texts(&check_restrictions(&spec, &built_in)).join("\n"), @r"
    spec.inherit[0].name: the system profile `net_container` is not allowed
    spec.allow..shadow_t: the type `shadow_t` is denied
    spec.allow.etc_t.capability: the class `capability` is denied
    spec.allow.etc_t.file: the permission `mounton` is denied
    spec.allow.etc_t.file: the permission `relabelto` is denied
    spec.allow.kernel_t: the type `kernel_t` is denied
    spec.allow.tmp_t.file: `all` is an operator of CIL, which also reaches permissions that are denied
    spec.allow.usr_t.dir: `not` is an operator of CIL, which also reaches permissions that are denied
    ");
    let changed = Options {
        allowed_system_profiles: owned(&["net_container"]),
        allowed_types: owned(&["kernel_t", "shadow_t"]),
        denied_types: owned(&["shadow_t", "secret_t"]),
        allowed_classes: owned(&["capability"]),
        denied_classes: owned(&["wine"]),
        allowed_permissions: owned(&["mounton", "relabelto", "pour"]),
        denied_permissions: owned(&["pour"]),
    };
    insta::assert_snapshot!(texts(&check_restrictions(&spec, &changed)).join("\n"), @r"
    spec.allow..shadow_t: the type `shadow_t` is denied
    spec.allow.secret_t: the type `secret_t` is denied
    spec.allow.secret_t.wine: the class `wine` is denied
    spec.allow.secret_t.wine: the permission `pour` is denied
    spec.allow.tmp_t.file: `all` is an operator of CIL, which also reaches permissions that are denied
    spec.allow.usr_t.dir: `not` is an operator of CIL, which also reaches permissions that are denied
    ");
    let refused = write_cil("name", &spec, &built_in).unwrap_err();
    assert_eq!(refused.0, check_restrictions(&spec, &built_in));
    assert!(refused.to_string().starts_with(
        "spec.inherit[0].name: the system profile `net_container` is not allowed; \
         `allowedSystemProfiles` of the daemon's configuration can allow it\nspec.allow"
    ));
}

#[test]
fn names_cannot_break_out() {
    let spec = SelinuxSpec {
        inherit: vec![Inherit::system("container)\n(blockinherit x")],
        allow: allow(&[
            ("etc_t)", "file", &["read"]),
            ("@other", "fi le", &["re\"ad", ""]),
        ]),
        ..SelinuxSpec::default()
    };
    let Err(refused) = write_cil("na.me", &spec, &Options::default()) else {
        panic!("it was written");
    };
    let paths: Vec<&str> = refused.0.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.name",
            "spec.inherit[0].name",
            "spec.allow.@other",
            "spec.allow.@other.fi le",
            "spec.allow.@other.fi le",
            "spec.allow.@other.fi le",
            "spec.allow.etc_t)",
            "spec.inherit[0].name",
        ]
    );
    assert!(write_cil("container", &SelinuxSpec::default(), &Options::default()).is_err());
}

#[test]
fn inheritance_has_no_circles() {
    let spec = |names: &[&str]| SelinuxSpec {
        inherit: names.iter().map(|name| profile(name)).collect(),
        ..SelinuxSpec::default()
    };
    let all: BTreeMap<&str, SelinuxSpec> = [
        ("a", spec(&["b", "c", "lost"])),
        ("b", spec(&["d"])),
        ("c", spec(&["d", "gone"])),
        ("d", spec(&[])),
        ("e", spec(&["f"])),
        ("f", spec(&["g"])),
        ("g", spec(&["e", "f"])),
        ("self", spec(&["self"])),
    ]
    .into();
    let check = |name: &str| texts(&check_inherits(name, &all[name], |name| all.get(name)));
    assert_eq!(check("d"), Vec::<String>::new());
    assert_eq!(
        check("a"),
        [
            "spec.inherit[1].name: there is no profile `gone`, which `c` inherits",
            "spec.inherit[2].name: there is no profile `lost`",
        ]
    );
    assert_eq!(
        check("e"),
        ["spec.inherit[0].name: `g` inherits `e`, which makes a circle"]
    );
    assert_eq!(
        check("self"),
        ["spec.inherit[0].name: `self` inherits itself"]
    );
}

pub(super) fn raw(policy: &str) -> RawSelinuxSpec {
    RawSelinuxSpec {
        state: State::Enabled,
        policy: policy.to_owned(),
    }
}

/// Policies that stay inside of their block.
pub(super) const GOOD: &[&str] = &[
    "(blockinherit container)\n(allow process etc_t ( file ( open read )))",
    "(type process) (allow process self (process (fork)))",
    "(type process) ; (in container\n(typeattributeset domain (process))",
    "(type process) (type data) (allow container_runtime_t data (file (read)))",
    "(type process) (allow process name.process (process (signal))) (allow .name.process etc_t (file (read)))",
    "(type process) (allow name_.process etc_t (file (read)))",
    "(type process) (type other) (typeattribute mine) (typeattributeset mine (process other)) (allow mine etc_t (file (read)))",
    "(type process) (typeattribute mine) (typeattributeset mine (and (process) (not (container_t)))) (allow mine etc_t (file (read)))",
    "(type process) (typeattribute seen) (typeattributeset seen (etc_t container_file_t)) (allow process seen (file (read)))",
    "(type process) (typealias p) (typealiasactual p process) (allow p etc_t (file (read)))",
    "(type process) (macro reads ((type what)) (allow process what (file (read)))) (call reads (etc_t))",
    "(type process) (macro may ((type who)) (allow who etc_t (file (read)))) (call may (process))",
    "(type process) (macro a ((type t)) (allow t etc_t (file (read)))) (macro b ((type t)) (call a (t))) (call b (process))",
    "(type process) (call readers (process process))",
    "(type process) (classpermission cp) (classpermissionset cp (file (read))) (allow process etc_t cp)",
    "(type process) (permissionx p (ioctl file (0x8910))) (allow process etc_t (file (ioctl))) (allowx process etc_t p)",
    "(type process) (type other) (typetransition process etc_t file other)",
    "(type process) (neverallow process shadow_t (file (write)))",
    "(type process) (dontaudit process shadow_t (file (write))) (auditallow process etc_t (file (read)))",
    "(type process) (boolean debug false)",
    "(type container_t) (type process) (allow container_t etc_t (file (read)))",
    "(type \"process\") (allow \"process\" etc_t (file (read)))",
    "(type process)\n;;* lms 1 source.te\n(allow process etc_t (file (read)))\n;;* lme\n",
    "(type process)\r\n(allow process etc_t (file (read)))\r\n",
];

/// Policies that reach out of their block, each with a word of what is said.
pub(super) const ESCAPES: &[(&str, &str)] = &[
    (
        "(allow container_t shadow_t (file (read)))",
        "not this profile's own type",
    ),
    (
        "(allow .process shadow_t (file (read)))",
        "not this profile's own type",
    ),
    (
        "(allow other.process shadow_t (file (read)))",
        "not this profile's own type",
    ),
    (
        "(in container (allow process shadow_t (file (read))))",
        "`in` is not allowed",
    ),
    (
        "(typeattributeset domain (not (process)))",
        "would give foreign types",
    ),
    (
        "(typeattributeset domain (all))",
        "would give foreign types",
    ),
    (
        "(typeattributeset container_domain (kernel_t))",
        "would give foreign types",
    ),
    (
        "(typealias p) (typealiasactual p container_t) (allow p shadow_t (file (read)))",
        "stands for types",
    ),
    (
        "(typeattribute a) (typeattributeset a (process container_t)) (allow a shadow_t (file (read)))",
        "stands for types",
    ),
    (
        "(typeattribute a) (typeattributeset a (container_t)) (allow kernel_t a (file (read)))",
        "not this profile's own type",
    ),
    (
        "(macro m ((type t)) (allow t shadow_t (file (read)))) (call m (container_t))",
        "stands for types",
    ),
    (
        "(macro m ((type process)) (allow process shadow_t (file (read)))) (call m (container_t))",
        "stands for types",
    ),
    (
        "(macro a ((type t)) (allow t shadow_t (file (read)))) (macro b ((type t)) (call a (t))) (call b (container_t))",
        "stands for types",
    ),
    (
        "(macro m ((type t)) (type kernel_t)) (allow kernel_t shadow_t (file (read)))",
        "not this profile's own type",
    ),
    (
        "(macro m () (in container (type x)))",
        "`in` is not allowed",
    ),
    ("(call readers (container_t shadow_t))", "nobody knows what"),
    ("(call readers (process shadow_t))", "nobody knows what"),
    (
        "(constrain (file (read)) (eq t1 kernel_t))",
        "`constrain` is not allowed",
    ),
    (
        "(mlsconstrain (file (read)) (eq t1 kernel_t))",
        "`mlsconstrain` is not allowed",
    ),
    (
        "(neverallow kernel_t kernel_t (process (fork)))",
        "not this profile's own type",
    ),
    (
        "(typebounds container_runtime_t container_t)",
        "not declared in this profile",
    ),
    (
        "(rangetransition container_t etc_t process low_high)",
        "not this profile's own type",
    ),
    (
        "(roleallow system_r system_r)",
        "`roleallow` is not allowed",
    ),
    (
        "(fsuse xattr ext4 (system_u object_r unlabeled_t ((s0) (s0))))",
        "`fsuse` is not allowed",
    ),
    ("(defaultuser file source)", "`defaultuser` is not allowed"),
    (
        "(expandtypeattribute (domain) true)",
        "not declared in this profile",
    ),
    (
        "(typepermissive process)",
        "`typepermissive` is not allowed",
    ),
    (
        "(policycap network_peer_controls)",
        "`policycap` is not allowed",
    ),
    ("(handleunknown allow)", "`handleunknown` is not allowed"),
    (
        ") (allow container_t shadow_t (file (read))",
        "closes nothing",
    ),
    (
        "(<src_info> cil 1 x (allow container_t shadow_t (file (read))))",
        "is no statement",
    ),
    ("(BLOCK x)", "is no statement"),
];

#[test]
fn raw_policies_stay_in_their_block() {
    let options = Options::default();
    for policy in GOOD {
        let written = write_raw_cil("name", &raw(policy), &options);
        let text = written.unwrap_or_else(|refused| panic!("{policy}: {refused}"));
        assert!(
            text.starts_with("(block name\n") && text.ends_with("\n)\n"),
            "{text}"
        );
        assert!(!text.contains("name_."), "{text}");
    }
    for (policy, expected) in ESCAPES {
        let policy = format!("(type process) {policy}");
        let Err(refused) = write_raw_cil("name", &raw(&policy), &options) else {
            panic!("{policy}");
        };
        assert!(
            refused.to_string().contains(expected),
            "{policy}: {refused}"
        );
    }
}

/// All words that the reference forbids.
#[test]
fn what_the_reference_forbids_is_forbidden() {
    const WORDS: &str = "block blockstart booleanif category categoryorder class classmap \
         classmapping classorder context dominance filecon genfscon level levelrange mls netifcon \
         nodecon optional policycap portcon role roletype sensitivity sensitivityorder sid \
         sidcontext sidorder tunable tunableif typepermissive user userrole";
    for word in WORDS.split_whitespace() {
        for word in [word.to_owned(), word.to_uppercase()] {
            let policy = format!("(type process)\n({word} a)");
            let written = write_raw_cil("name", &raw(&policy), &Options::default());
            let told = written.unwrap_err().to_string();
            assert!(
                told.contains("not allowed") || told.contains("no statement"),
                "{told}"
            );
        }
    }
}

#[test]
fn deny_lists_hold_for_raw_policies() {
    let policy = "(blockinherit container)
(blockinherit unconfined)
(allow process kernel_t (file (read)))
(allow process .shadow_t (file (read mounton)))
(allow process self (capability (chown)))
(classpermission cp)
(classpermissionset cp (dir (all)))
(typeattribute a)
(typeattributeset a (shadow_t etc_t))
(macro m ((type t)) (allow process t (file ((not (read))))))
(call m (kmem_t))
(type security_t)
(allow process security_t (file (read)))
";
    let found = check_raw_restrictions("name", &raw(policy), &Options::default());
    insta::assert_snapshot!(texts(&found).join("\n"), @r"
    spec.policy: the system profile `unconfined` is not allowed (line 2 of the policy)
    spec.policy: the type `kernel_t` is denied (line 3 of the policy)
    spec.policy: the type `shadow_t` is denied (line 4 of the policy)
    spec.policy: the permission `mounton` is denied (line 4 of the policy)
    spec.policy: the class `capability` is denied (line 5 of the policy)
    spec.policy: `all` is an operator of CIL, which also reaches permissions that are denied (line 7 of the policy)
    spec.policy: the type `shadow_t` is denied (line 9 of the policy)
    spec.policy: the type `kmem_t` is denied (line 11 of the policy)
    spec.policy: `not` is an operator of CIL, which also reaches permissions that are denied (line 10 of the policy)
    ");
}

#[test]
fn the_old_name_of_a_block_is_brought_up_to_date() {
    let policy = "(type process)(allow process name_.process (process (fork)));name_.x\n(allow process \".name_.process\" (process (fork)))";
    let text = write_raw_cil("name", &raw(policy), &Options::default()).unwrap();
    insta::assert_snapshot!(text, @r"
    (block name
    (type process)(allow process name.process (process (fork)));name_.x
    (allow process .name.process (process (fork)))
    )
    ");
}
