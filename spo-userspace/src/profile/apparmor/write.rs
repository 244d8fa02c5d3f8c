//! Writing objects.

use serde::Serialize;
use thiserror::Error;

use super::model::{Abstract, AppArmorProfile, AppArmorSpec, Mode};
use super::{KIND, check};
use crate::profile::object;
use crate::profile::state::State;

/// Why an object cannot be written.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// A value that no object may have.
    #[error("{0}")]
    Refused(String),
    /// The serializer failed.
    #[error("failed to write YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The object as YAML: always the same text for the same profile, lists sorted, what is default
/// or empty left out.
pub fn write_object(profile: &AppArmorProfile) -> Result<String, ObjectError> {
    let AppArmorProfile { metadata, spec } = profile;
    check::spec(spec).map_err(|refusal| ObjectError::Refused(refusal.message))?;
    Ok(object::write(&KIND, metadata, &Spec::of(spec))?)
}

#[derive(Serialize)]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(rename = "abstract")]
    abstract_: &'a Abstract,
}

impl<'a> Spec<'a> {
    fn of(spec: &'a AppArmorSpec) -> Self {
        let AppArmorSpec {
            state,
            mode,
            abstract_,
        } = spec;
        Self {
            state: (*state != State::Enabled).then_some(*state),
            mode: (*mode != Mode::Enforce).then_some(*mode),
            abstract_,
        }
    }
}
