//! Between the object's spec and the profile that everything else works with.

use proptest::prelude::*;
use spo::api::SeccompProfileSpec;
use spo::api::seccomp_profile::NotAnObject;
use spo::profile::named::Named;
use spo::profile::seccomp::{
    Action, Architecture, Flag, Operator, SeccompSpec, SyscallArg, SyscallRule,
};
use spo::profile::state::State;

fn one<T: Named + std::fmt::Debug>() -> impl Strategy<Value = T> {
    (0..T::ALL.len()).prop_map(|index| T::ALL[index].0)
}

fn some<T: Named + std::fmt::Debug>() -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one::<T>(), 0..4)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        Just(i64::MAX.unsigned_abs()),
        Just(1 << 63),
        any::<u64>()
    ]
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z/:]{0,6}")
}

fn specs() -> impl Strategy<Value = SeccompSpec> {
    let arg = (0..7_u32, number(), number(), one::<Operator>()).prop_map(
        |(index, value, value_two, op)| SyscallArg {
            index,
            value,
            value_two,
            op,
        },
    );
    let errno = prop::option::of(prop_oneof![0..5000_u32, any::<u32>()]);
    let rule = (
        prop::collection::vec("[a-z]{1,5}", 1..3),
        one::<Action>(),
        errno.clone(),
        prop::collection::vec(arg, 0..3),
    )
        .prop_map(|(names, action, errno_ret, args)| SyscallRule {
            names,
            action,
            errno_ret,
            args,
        });
    (
        (
            one::<State>(),
            text(),
            one::<Action>(),
            prop::option::weighted(0.1, any::<u32>()),
        ),
        (some::<Architecture>(), text(), text(), some::<Flag>()),
        prop::collection::vec(rule, 0..4),
    )
        .prop_map(
            |((state, base, action, errno), (architectures, path, metadata, flags), syscalls)| {
                SeccompSpec {
                    state,
                    base_profile_name: base,
                    default_action: action,
                    default_errno_ret: errno,
                    architectures,
                    listener_path: path,
                    listener_metadata: metadata,
                    flags,
                    syscalls,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// What an object can say comes back as it was, also by way of JSON; the rest is refused.
    #[test]
    fn nothing_is_lost(spec in specs()) {
        let small = |number: u64| i64::try_from(number).is_ok();
        let fits = spec.default_errno_ret.is_none() && spec.syscalls.iter().all(|rule| {
            rule.errno_ret.is_none_or(|errno| i32::try_from(errno).is_ok())
                && rule.args.iter().all(|arg| small(arg.value) && small(arg.value_two))
        });
        match SeccompProfileSpec::try_from(spec.clone()) {
            Ok(object) => {
                prop_assert!(fits);
                prop_assert_eq!(SeccompSpec::from(object.clone()), spec.clone());
                let json = serde_json::to_value(&object).unwrap();
                let read: SeccompProfileSpec = serde_json::from_value(json).unwrap();
                prop_assert_eq!(&read, &object);
                prop_assert_eq!(SeccompProfileSpec::try_from(SeccompSpec::from(object)).unwrap(), read);
            }
            Err(error) => {
                prop_assert!(!fits);
                let expected = spec.default_errno_ret.is_some();
                prop_assert_eq!(error == NotAnObject::DefaultErrnoRet, expected);
            }
        }
    }
}
