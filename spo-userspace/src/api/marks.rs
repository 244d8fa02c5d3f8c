//! How a pod's annotations say which recordings its containers belong to.

use std::fmt;

use super::common::ProfileKind;
use super::profile_recording::Recorder;

/// Recordings that are marked on one container. More may record it all the same.
pub const MOST: usize = 16;
/// Between the marks of several recordings.
const BETWEEN: char = ',';

/// The annotation of a container; none for a pair of kind and recorder that cannot be.
pub fn annotation(kind: ProfileKind, recorder: Recorder, container: &str) -> Option<String> {
    let prefix = match (kind, recorder) {
        (ProfileKind::SeccompProfile, Recorder::Bpf) => "io.containers.trace-bpf",
        (ProfileKind::SeccompProfile, Recorder::Logs) => "io.containers.trace-logs",
        (ProfileKind::AppArmorProfile, Recorder::Bpf) => "io.containers.trace-bpf-apparmor",
        (ProfileKind::SelinuxProfile, Recorder::Logs) => "io.containers.trace-avcs",
        (ProfileKind::AppArmorProfile, Recorder::Logs)
        | (ProfileKind::SelinuxProfile, Recorder::Bpf) => return None,
    };
    Some(format!("{prefix}/{container}"))
}

/// One recording of one container of one pod, written as `RECORDING_CONTAINER_SUFFIX_SECONDS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The recording, in the pod's namespace.
    pub recording: String,
    /// The container.
    pub container: String,
    /// Letters that tell two pods apart.
    pub suffix: String,
    /// When it was set, in seconds since 1970.
    pub seconds: u64,
}

impl Mark {
    /// The mark of a text. Neither name has an underscore, so that there is one way to read it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('_').map(str::to_owned);
        let mark = Self {
            recording: parts.next().filter(|name| !name.is_empty())?,
            container: parts.next().filter(|name| !name.is_empty())?,
            suffix: parts.next()?,
            seconds: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(mark)
    }

    /// The marks of an annotation's value; what cannot be read is left out.
    pub fn all(value: &str) -> Vec<Self> {
        value.split(BETWEEN).filter_map(Self::parse).collect()
    }

    /// An annotation's value.
    pub fn joined(marks: &[Self]) -> String {
        let marks: Vec<_> = marks.iter().map(ToString::to_string).collect();
        marks.join(&BETWEEN.to_string())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            recording,
            container,
            suffix,
            seconds,
        } = self;
        write!(formatter, "{recording}_{container}_{suffix}_{seconds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        let value = "web_app_bcdfg_1700000000,other_app_x2456_1700000001";
        let marks = Mark::all(value);
        assert_eq!(marks.len(), 2);
        assert_eq!(marks[1].recording, "other");
        assert_eq!(Mark::joined(&marks), value);
        for text in [
            "",
            "web",
            "web_app_x",
            "_app_x_1",
            "web__x_1",
            "w_a_x_-1",
            "w_a_x_1_1",
        ] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }
}
