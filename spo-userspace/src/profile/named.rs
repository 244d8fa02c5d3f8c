//! Enumerations that profiles write as text.

/// An enumeration whose values have fixed names in profiles.
pub trait Named: Copy + Eq + Ord + 'static {
    /// What one of them is called in a message, with an article.
    const ONE: &'static str;
    /// All values with their names, in the order of declaration.
    const ALL: &'static [(Self, &'static str)];

    /// The value of a name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(value, _)| *value)
    }

    /// The name.
    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("", |(_, name)| *name)
    }
}

macro_rules! named {
    (
        $(#[$documentation:meta])*
        $type:ident, $one:literal { $($(#[$variant_documentation:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_documentation])* $variant,)+
        }

        impl $crate::profile::named::Named for $type {
            const ONE: &'static str = $one;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $name),)+];
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.pad($crate::profile::named::Named::name(*self))
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::profile::named::Named::name(*self))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <::std::borrow::Cow<'de, str> as ::serde::Deserialize>::deserialize(deserializer)?;
                <Self as $crate::profile::named::Named>::from_name(&name).ok_or_else(|| {
                    ::serde::de::Error::custom(format_args!(
                        "{} is not {}", $crate::profile::diagnostic::quoted(&name), $one
                    ))
                })
            }
        }
    };
}

pub(crate) use named;
