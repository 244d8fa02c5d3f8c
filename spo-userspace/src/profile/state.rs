//! Whether a profile is in use.

use super::named::named;

named! {
    /// Whether a profile is to be installed.
    State, "a state" {
        /// It is.
        Enabled = "Enabled",
        /// It is not.
        Disabled = "Disabled",
    }
}
