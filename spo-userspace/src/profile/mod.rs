//! Profiles as values: models, readers, writers. No IO, no clock.
