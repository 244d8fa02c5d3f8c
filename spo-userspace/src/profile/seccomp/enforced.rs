//! Whether filters that are in force do what a profile says.
//!
//! Runtimes compile a profile each in its own way, so that programs are not compared, but what they answer: to every number
//! of every architecture that this kernel can have calls of, and to arguments on both sides of each border that the profile or
//! a program draws. What runtimes do beyond the profile is known rule by rule; see [`compare`].

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::multiplexed::{behind, multiplexed};
use super::program::{Program, Seen, answer};
use super::verdict::{Arguments, Call, Calls, ENOSYS, Verdict};
use super::ways::{Halves, add_borders, values};
use super::{Action, Architecture, Flag, SeccompSpec};
use crate::event::KernelFilter;
use crate::profile::arch::Arch;
use crate::profile::diagnostic::escape;
use crate::profile::syscalls;

/// Calls up to this number are known to every libseccomp that a runtime may have (`faccessat2`, in 2.5.0).
const KNOWN_TO_ALL: u32 = 439;
/// Younger calls that got smaller numbers.
const YOUNG: [&str; 3] = ["riscv_hwprobe", "uprobe", "uretprobe"];
/// More arguments than this are not tried for one call.
const MOST_TRIED: usize = 1 << 14;
/// Numbers beyond an architecture's table that are tried.
const BEYOND: u32 = 16;
/// `__X32_SYSCALL_BIT`, `arch/x86/include/uapi/asm/unistd.h`.
const X32_BIT: u32 = 0x4000_0000;

/// Filters that are in force, from the newest.
pub struct InForce {
    programs: Vec<Program>,
    logs: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Calls that are treated otherwise than the profile says, each once.
    pub differences: Vec<Deviation>,
    /// The profile wants what its filter does logged, and the kernel does not log it.
    pub unlogged: bool,
    /// Calls that fare worse than the profile says, because the filter has no rule for them, as for all that are newer: a
    /// runtime whose libseccomp does not know them makes such a filter, and so does an older profile without them.
    pub newer: BTreeSet<String>,
    /// Calls whose conditions are too many, or are not followed.
    pub opaque: BTreeSet<String>,
}

/// A call that is treated otherwise than the profile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The call's name, or number.
    pub call: String,
    /// The architecture, where it is not the machine's own.
    pub arch: Option<Arch>,
    /// For such arguments, where they matter.
    pub args: Vec<(usize, u64)>,
    /// What the profile says.
    pub profile: Verdict,
    /// What the kernel does.
    pub kernel: Verdict,
}

impl fmt::Display for Deviation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            arch,
            args,
            profile,
            kernel,
        } = self;
        formatter.write_str(&escape(call))?;
        if let Some(arch) = arch {
            write!(formatter, " of {arch}")?;
        }
        for (at, (index, value)) in args.iter().enumerate() {
            let word = if at == 0 { "with" } else { "and" };
            write!(formatter, " {word} argument {index} = {value:#x}")?;
        }
        let short = |verdict: &Verdict| verdict.to_string().replace("SCMP_ACT_", "");
        write!(
            formatter,
            ": profile says {}, the kernel's filter {}",
            short(profile),
            short(kernel)
        )
    }
}

impl Comparison {
    /// Whether all that was compared is the same.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && !self.unlogged
    }
}

impl InForce {
    /// Filters as the kernel has them; none if it could not have a program.
    pub fn new(filters: &[KernelFilter]) -> Result<Self, super::program::BadProgram> {
        let programs: Result<_, _> = filters
            .iter()
            .map(|filter| Program::new(filter.program.clone()))
            .collect();
        Ok(Self {
            programs: programs?,
            logs: filters.iter().any(|filter| filter.logs),
        })
    }
}

/// Compares filters with a profile, whose bases are taken in already, on a machine of this architecture.
///
/// What runtimes and libseccomp do beyond a profile, and what is no difference therefore:
///
/// - Calls of architectures that the profile does not name kill; the machine's own is always named.
/// - On 32-bit architectures, conditions are on the lower halves of arguments and values.
/// - Where one number stands for many calls (`socketcall`, `ipc`), rules for these are rules for it, by its first argument.
/// - runc lets calls beyond the last one of the profile fail with `ENOSYS` where the default action refuses.
/// - Of several rules whose conditions hold, any may count.
pub fn compare(spec: &SeccompSpec, filters: &InForce, native: Arch) -> Comparison {
    let wants_logs = spec.flags.contains(&Flag::Log);
    let mut comparison = Comparison {
        unlogged: wants_logs && !filters.logs,
        ..Comparison::default()
    };
    let calls = Calls::of(spec);
    let kernels = [Some(native), native.compat(), native.x32()];
    for arch in kernels.into_iter().flatten() {
        Side::new(spec, &calls, arch, native).compare(filters, &mut comparison);
    }
    comparison
}

/// What a profile says of one architecture.
struct Side<'a> {
    arch: Arch,
    native: Arch,
    /// Whether the profile is for it.
    named: bool,
    default: Verdict,
    rules: HashMap<u32, Vec<(&'a str, Call)>>,
    /// The largest number that the profile names.
    last: Option<u32>,
}

/// A number that is not treated as the profile says.
struct Found {
    number: u32,
    args: Vec<(usize, u64)>,
    profile: Verdict,
    kernel: Verdict,
}

impl<'a> Side<'a> {
    fn new(spec: &'a SeccompSpec, calls: &Calls<'a>, arch: Arch, native: Arch) -> Self {
        let named = arch == native
            || spec
                .architectures
                .iter()
                .any(|one| one.arch() == Some(arch) && *one != Architecture::Native);
        let narrow = is_32_bit(arch);
        let mut rules: HashMap<u32, Vec<(&str, Call)>> = HashMap::new();
        for name in calls.names() {
            let mut call = calls.get(name);
            if narrow {
                call = narrowed(call);
            }
            if let Some((number, first)) = multiplexed(arch, name) {
                let call = behind(&call, first, calls.default);
                rules.entry(number).or_default().push((name, call));
            }
            if let Some(number) = syscalls::number(arch, name) {
                rules.entry(number).or_default().push((name, call));
            }
        }
        let all = spec.syscalls.iter().flat_map(|rule| &rule.names);
        Self {
            arch,
            native,
            named,
            default: calls.default,
            rules,
            last: all
                .filter_map(|name| syscalls::number(arch, name))
                .max()
                .filter(|_| named),
        }
    }

    fn compare(&self, filters: &InForce, comparison: &mut Comparison) {
        let mut found = Vec::new();
        let mut honoured = 0;
        let numbers = self.numbers(filters);
        let stub = self.stub(&numbers, filters);
        for number in numbers {
            match self.compare_number(number, filters) {
                Ok(None) => {
                    let rules = self.rules.get(&self.plain(number));
                    if rules.is_some() && self.named {
                        honoured = honoured.max(self.plain(number));
                    }
                }
                Ok(Some(difference)) => found.push(difference),
                Err(TooMany) => {
                    comparison.opaque.insert(self.name(number));
                }
            }
        }
        for one in found {
            let number = self.plain(one.number);
            let in_stub = stub.is_some_and(|from| one.number >= from);
            let is_left_out = one.kernel < one.profile && (one.kernel == self.default || in_stub);
            let is_young = syscalls::name(self.arch, number).is_some_and(|it| YOUNG.contains(&it));
            let is_newer = self.named && (is_young || number > honoured.max(KNOWN_TO_ALL));
            let is_behind = self.last.is_some_and(|last| number > last);
            match self.rules.get(&number) {
                Some(rules) if is_newer && is_left_out => {
                    let names = rules.iter().map(|(name, _)| (*name).to_owned());
                    comparison.newer.extend(names);
                }
                None if in_stub && (is_newer || is_behind) => {}
                _ => comparison.differences.push(Deviation {
                    call: self.name(one.number),
                    arch: (self.arch != self.native).then_some(self.arch),
                    args: one.args,
                    profile: one.profile,
                    kernel: one.kernel,
                }),
            }
        }
    }

    /// All numbers that may be told apart, as the kernel passes them.
    fn numbers(&self, filters: &InForce) -> BTreeSet<u32> {
        let bit = if self.arch == Arch::X32 { X32_BIT } else { 0 };
        let table = syscalls::calls(self.arch);
        let most = table
            .iter()
            .map(|(number, _)| *number)
            .filter(|number| *number < 1 << 12)
            .max();
        let mut numbers: BTreeSet<u32> = (0..=most.unwrap_or(0) + BEYOND)
            .map(|number| number | bit)
            .collect();
        numbers.extend(table.iter().map(|(number, _)| number | bit));
        numbers.extend([X32_BIT - 1, X32_BIT, i32::MAX.cast_unsigned()]);
        for program in &filters.programs {
            for constant in program.constants() {
                numbers.extend([constant.wrapping_sub(1), constant, constant.wrapping_add(1)]);
            }
        }
        if self.native.x32().is_some() && self.arch.audit() == self.native.audit() {
            // Larger ones without the bit are nobody's: libseccomp takes them for x32's, and runc does not.
            let is_x32 = self.arch == Arch::X32;
            numbers.retain(|number| {
                (number & X32_BIT != 0) == is_x32 && (is_x32 || *number < X32_BIT)
            });
        }
        // No call, but what a tracer leaves of one that it takes back.
        numbers.remove(&u32::MAX);
        numbers
    }

    fn compare_number(&self, number: u32, filters: &InForce) -> Result<Option<Found>, TooMany> {
        let rules = self.rules.get(&self.plain(number)).filter(|_| self.named);
        let audit = self.arch.audit();
        let mut halves = Halves::new();
        for program in &filters.programs {
            program
                .halves(number, audit, &mut halves)
                .map_err(|_opaque| TooMany)?;
        }
        let narrow = is_32_bit(self.arch);
        for (_, call) in rules.into_iter().flatten() {
            call.conditions()
                .for_each(|condition| add_borders(&condition, &mut halves));
        }
        if narrow {
            halves.retain(|(_, is_upper), _| !is_upper);
        }
        let values: Vec<_> = halves
            .iter()
            .map(|(half, it)| (*half, values(it)))
            .collect();
        let tried = values.iter().fold(1_usize, |tried, (_, values)| {
            tried.saturating_mul(values.len())
        });
        if tried > MOST_TRIED {
            return Err(TooMany);
        }
        for chosen in 0..tried {
            let mut args = Arguments::default();
            let mut rest = chosen;
            for ((index, is_upper), values) in &values {
                let value = u64::from(values[rest % values.len()]);
                rest /= values.len();
                args[*index] |= if *is_upper { value << 32 } else { value };
            }
            let call = Seen {
                number,
                audit,
                args,
            };
            let kernel = answer(&filters.programs, &call);
            let profile = self.acceptable(rules, &args);
            if !profile.contains(&kernel) {
                let indices: BTreeSet<_> = halves.keys().map(|(index, _)| *index).collect();
                let args = indices.into_iter().map(|index| (index, args[index]));
                return Ok(Some(Found {
                    number,
                    args: args.collect(),
                    profile: profile[0],
                    kernel,
                }));
            }
        }
        Ok(None)
    }

    /// What the kernel may do with a call. The first is what the profile says.
    fn acceptable(&self, rules: Option<&Vec<(&str, Call)>>, args: &Arguments) -> Vec<Verdict> {
        if !self.named {
            return vec![
                Verdict::new(Action::Kill, None),
                Verdict::new(Action::KillProcess, None),
            ];
        }
        let Some(rules) = rules else {
            return vec![self.default];
        };
        let always = rules.iter().filter(|(_, call)| !call.has_conditions());
        let always: Vec<_> = always.filter_map(|(_, call)| call.otherwise).collect();
        if !always.is_empty() {
            return always;
        }
        let mut matching: Vec<_> = rules
            .iter()
            .flat_map(|(_, call)| call.matching(args))
            .collect();
        // What the profile means comes first.
        matching.sort_by(|left, right| right.cmp(left));
        if matching.is_empty() {
            matching.push(self.default);
        }
        matching
    }

    /// From which number on all calls fail with `ENOSYS`. runc puts a program in front that does so, unless the default action
    /// lets calls through (`isAllowAction` in its `libcontainer/seccomp/patchbpf`).
    fn stub(&self, numbers: &BTreeSet<u32>, filters: &InForce) -> Option<u32> {
        let lets_through = matches!(
            self.default.action,
            Action::Allow | Action::Log | Action::Trace
        );
        if !self.named || lets_through {
            return None;
        }
        let fails = |number: &u32| {
            let call = Seen {
                number: *number,
                audit: self.arch.audit(),
                args: Arguments::default(),
            };
            // Whatever its arguments are.
            let mut halves = Halves::new();
            let audit = self.arch.audit();
            let mut programs = filters.programs.iter();
            let is_opaque = programs.any(|one| one.halves(*number, audit, &mut halves).is_err());
            !is_opaque
                && halves.is_empty()
                && answer(&filters.programs, &call) == Verdict::new(Action::Errno, Some(ENOSYS))
        };
        let failing = numbers.iter().rev().copied();
        failing.take_while(fails).last()
    }

    /// A number as tables have it.
    fn plain(&self, number: u32) -> u32 {
        if self.arch == Arch::X32 {
            number & !X32_BIT
        } else {
            number
        }
    }

    fn name(&self, number: u32) -> String {
        let plain = self.plain(number);
        match syscalls::name(self.arch, plain) {
            Some(name) => name.to_owned(),
            None => format!("call number {plain}"),
        }
    }
}

/// There are more arguments than are tried, or they are not known.
struct TooMany;

fn is_32_bit(arch: Arch) -> bool {
    matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm)
}

/// As libseccomp compares on 32-bit architectures.
fn narrowed(mut call: Call) -> Call {
    for branch in &mut call.branches {
        for condition in &mut branch.conditions {
            condition.value &= u64::from(u32::MAX);
            condition.value_two &= u64::from(u32::MAX);
        }
    }
    call
}
