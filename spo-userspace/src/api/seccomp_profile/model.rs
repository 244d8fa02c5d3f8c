//! From the object's `spec` to the profile that everything else works with, and back.

use thiserror::Error;

use super::{Arg, SeccompProfileSpec, Syscall};
use crate::profile::seccomp::{Action, SeccompSpec, SyscallArg, SyscallRule};

/// Why a profile has no place in an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAnObject {
    /// Objects have no field for it.
    #[error("`defaultErrnoRet` has no place in a SeccompProfile object")]
    DefaultErrnoRet,
    /// The object's numbers are signed.
    #[error("{number} in a rule for {syscall} is too large for a SeccompProfile object")]
    LargeNumber {
        /// The number.
        number: u64,
        /// The first call of the rule.
        syscall: String,
    },
}

impl From<SeccompProfileSpec> for SeccompSpec {
    fn from(spec: SeccompProfileSpec) -> Self {
        let SeccompProfileSpec {
            state,
            namespace_selector: _,
            base_profile_name,
            default_action,
            architectures,
            listener_path,
            listener_metadata,
            flags,
            syscalls,
        } = spec;
        Self {
            state,
            base_profile_name,
            default_action,
            default_errno_ret: None,
            architectures,
            listener_path,
            listener_metadata,
            flags,
            syscalls: syscalls.into_iter().map(SyscallRule::from).collect(),
        }
    }
}

impl From<Syscall> for SyscallRule {
    fn from(rule: Syscall) -> Self {
        let Syscall {
            names,
            action,
            errno_ret,
            args,
        } = rule;
        let args = args.into_iter().map(|arg| {
            let Arg {
                index,
                value,
                value_two,
                op,
            } = arg;
            SyscallArg {
                index,
                value,
                value_two,
                op,
            }
        });
        Self {
            names,
            action,
            errno_ret,
            args: args.collect(),
        }
    }
}

impl TryFrom<SeccompSpec> for SeccompProfileSpec {
    type Error = NotAnObject;

    fn try_from(spec: SeccompSpec) -> Result<Self, NotAnObject> {
        let SeccompSpec {
            state,
            base_profile_name,
            default_action,
            default_errno_ret,
            architectures,
            listener_path,
            listener_metadata,
            flags,
            syscalls,
        } = spec;
        // EPERM is what there is without a number.
        if default_errno_ret.is_some_and(|number| number != 1 || default_action != Action::Errno) {
            return Err(NotAnObject::DefaultErrnoRet);
        }
        let syscalls: Result<_, _> = syscalls.into_iter().map(Syscall::try_from).collect();
        Ok(Self {
            state,
            namespace_selector: None,
            base_profile_name,
            default_action,
            architectures,
            listener_path,
            listener_metadata,
            flags,
            syscalls: syscalls?,
        })
    }
}

impl TryFrom<SyscallRule> for Syscall {
    type Error = NotAnObject;

    fn try_from(rule: SyscallRule) -> Result<Self, NotAnObject> {
        let SyscallRule {
            names,
            action,
            errno_ret,
            args,
        } = rule;
        let int32 = errno_ret
            .into_iter()
            .chain(args.iter().map(|arg| arg.index));
        let too_large = int32
            .filter(|number| i32::try_from(*number).is_err())
            .map(u64::from);
        let int64 = args.iter().flat_map(|arg| [arg.value, arg.value_two]);
        let too_large = too_large.chain(int64.filter(|number| i64::try_from(*number).is_err()));
        if let Some(number) = too_large.max() {
            let syscall = names.into_iter().next().unwrap_or_default();
            return Err(NotAnObject::LargeNumber { number, syscall });
        }
        let args = args.into_iter().map(|arg| {
            let SyscallArg {
                index,
                value,
                value_two,
                op,
            } = arg;
            Arg {
                index,
                value,
                value_two,
                op,
            }
        });
        Ok(Self {
            names,
            action,
            errno_ret,
            args: args.collect(),
        })
    }
}
