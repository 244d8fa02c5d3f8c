//! The names of images: when two of them mean the same, and which of them a pattern means.

/// Where images come from whose name says nothing of it.
const REGISTRY: &str = "docker.io";
/// Another name of it.
const OLD_REGISTRY: &str = "index.docker.io";
/// Where its images are whose name has one part only.
const OFFICIAL: &str = "library/";
/// Which image it is if the name does not say.
const LATEST: &str = "latest";
/// Any characters, in a pattern.
const ANY: char = '*';

/// An image's name with all that it may leave out: `nginx` is `docker.io/library/nginx:latest`. With
/// a digest, no tag is added. What is no name of an image becomes something that none is like.
pub fn normalised(name: &str) -> String {
    let Parts {
        registry,
        path,
        digest,
    } = Parts::of(name);
    let official = registry == REGISTRY && !path.contains('/') && !path.starts_with(ANY);
    let official = if official { OFFICIAL } else { "" };
    let mut whole = format!("{registry}/{official}{path}");
    with_tag(&mut whole, path, digest);
    whole
}

struct Parts<'n> {
    registry: String,
    /// With the tag.
    path: &'n str,
    digest: Option<&'n str>,
}

impl<'n> Parts<'n> {
    fn of(name: &'n str) -> Self {
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (name, None),
        };
        let is_registry = |part: &&str| {
            part.contains(['.', ':'])
                || part.eq_ignore_ascii_case("localhost")
                // No other part of a name may have such letters.
                || part.bytes().any(|byte| byte.is_ascii_uppercase())
        };
        let (registry, path) = match name.split_once('/') {
            Some((registry, path)) if is_registry(&registry) => (registry, path),
            _ => (REGISTRY, name),
        };
        // Names of machines may be written either way; others would not be taken for one any more.
        let is_plain = registry.contains(['.', ':']) || registry.eq_ignore_ascii_case("localhost");
        let mut registry = registry.to_owned();
        if is_plain {
            registry.make_ascii_lowercase();
        }
        if registry == OLD_REGISTRY {
            REGISTRY.clone_into(&mut registry);
        }
        Self {
            registry,
            path,
            digest,
        }
    }
}

/// Adds the usual tag if there is neither tag nor digest, nor anything that may stand for one.
fn with_tag(whole: &mut String, path: &str, digest: Option<&str>) {
    let last = path.rsplit('/').next().unwrap_or_default();
    if let Some(digest) = digest {
        whole.push('@');
        whole.push_str(digest);
    } else if !last.contains([':', ANY]) {
        whole.push(':');
        whole.push_str(LATEST);
    }
}

/// An image as a pod names it, in each way that a pattern may mean it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    forms: Vec<String>,
}

impl Image {
    /// The image of a name.
    pub fn of(name: &str) -> Self {
        let whole = normalised(name);
        let mut forms = Vec::new();
        if let Some((name, digest)) = whole.split_once('@') {
            let path = name.rfind('/').map_or(0, |slash| slash + 1);
            if let Some(colon) = name[path..].rfind(':') {
                forms.push(format!("{}@{digest}", &name[..path + colon]));
                forms.push(name.to_owned());
            }
        }
        forms.push(whole);
        Self { forms }
    }
}

/// How much a pattern says; what says more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// Nothing.
    Any,
    /// Some of the name: so many characters.
    Glob(usize),
    /// All of it.
    Name,
    /// Of which bytes it is.
    Digest,
}

/// The images that a binding means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    precision: Precision,
}

impl Pattern {
    /// Reads a pattern. Every text is one.
    ///
    /// It is taken for a name that leaves as much out as names do, unless its registry may be any:
    /// if it begins with `*`, or has one before the first `/`, nothing is added in front.
    pub fn of(text: &str) -> Self {
        let is_any = !text.is_empty() && text.chars().all(|character| character == ANY);
        let open = |registry: &str| registry.contains(ANY);
        let as_it_stands =
            text.starts_with(ANY) || text.split_once('/').is_some_and(|(first, _)| open(first));
        let precision = |text: &str| match text.chars().filter(|c| *c != ANY).count() {
            _ if is_any => Precision::Any,
            literal if text.contains(ANY) => Precision::Glob(literal),
            _ if text.contains('@') => Precision::Digest,
            _ => Precision::Name,
        };
        let text = if as_it_stands {
            let (path, digest) = match text.split_once('@') {
                Some((path, digest)) => (path, Some(digest)),
                None => (text, None),
            };
            let mut whole = path.to_owned();
            with_tag(&mut whole, path, digest);
            whole
        } else {
            normalised(text)
        };
        Self {
            precision: precision(&text),
            text,
        }
    }

    /// How much it says.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether it means this image.
    pub fn matches(&self, image: &Image) -> bool {
        match self.precision {
            Precision::Any => true,
            Precision::Glob(_) => image.forms.iter().any(|form| glob(&self.text, form)),
            Precision::Name | Precision::Digest => image.forms.contains(&self.text),
        }
    }
}

/// Whether a text is like a pattern, in which `*` is any characters, also none.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split(ANY);
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    match rest.strip_suffix(last) {
        Some(middle) => rest = middle,
        None => return false,
    }
    // The first place where a piece fits leaves the most for those after it.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_what_runtimes_make_of_them() {
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("library/nginx", "docker.io/library/nginx:latest"),
            ("bitnami/nginx:1", "docker.io/bitnami/nginx:1"),
            ("Quay.IO/a/b", "quay.io/a/b:latest"),
            ("localhost/busybox:test", "localhost/busybox:test"),
            ("registry:5000/web", "registry:5000/web:latest"),
            ("HOST/web", "HOST/web:latest"),
            ("nginx@sha256:0", "docker.io/library/nginx@sha256:0"),
            ("nginx:1@sha256:0", "docker.io/library/nginx:1@sha256:0"),
        ] {
            assert_eq!(normalised(name), expected, "{name}");
        }
    }

    fn is_meant(pattern: &str, image: &str) -> bool {
        Pattern::of(pattern).matches(&Image::of(image))
    }

    #[test]
    fn patterns_mean_images() {
        let pinned = format!("nginx:1.25@{DIGEST}");
        let by_digest = format!("nginx@{DIGEST}");
        for (pattern, image, expected) in [
            ("nginx:1.25", "docker.io/library/nginx:1.25", true),
            ("docker.io/nginx:1.25", "nginx:1.25", true),
            ("nginx", "nginx:latest", true),
            ("nginx", "nginx:1.25", false),
            ("nginx:1.25", "bitnami/nginx:1.25", false),
            ("nginx:1.25", "quay.io/library/nginx:1.25", false),
            // A digest, on either side.
            ("nginx:1.25", &pinned, true),
            ("nginx:1.26", &pinned, false),
            ("nginx", &by_digest, false),
            (&by_digest, &pinned, true),
            (&by_digest, &by_digest, true),
            (&by_digest, "nginx:1.25", false),
            (&pinned, &pinned, true),
            (&pinned, &by_digest, false),
            // Patterns that are names but for some characters.
            ("nginx:1.*", "nginx:1.25", true),
            ("nginx:1.*", &pinned, true),
            ("nginx:1.*", "nginx:2.1", false),
            ("nginx:*", "nginx", true),
            ("nginx*", "nginx:1.25", true),
            ("nginx*", "nginx-debug:1", true),
            ("nginx*", &by_digest, true),
            ("nginx*", "bitnami/nginx:1.25", false),
            ("nginx:*-alpine", "nginx:1.25-alpine", true),
            ("quay.io/*", "quay.io/a/b/c:1", true),
            ("quay.io/*", "quay.io.example.com/a:1", false),
            ("quay.io/*/web:1", "quay.io/a/b/web:1", true),
            ("quay.io/*/web", "quay.io/a/web", true),
            ("quay.io/*/web", "quay.io/a/web:2", false),
            ("docker.io/*", "bitnami/nginx", true),
            ("docker.io/*", "nginx", true),
            // Those whose registry may be any.
            ("*/nginx:1.25", "nginx:1.25", true),
            ("*/nginx:1.25", "quay.io/a/nginx:1.25", true),
            ("*/nginx", "nginx", true),
            ("*.example.com/web:1", "eu.example.com/web:1", true),
            ("*.example.com/web:1", "example.com/web:1", false),
            ("*nginx:*", "quay.io/my-nginx:3", true),
            ("*@sha256:*", &pinned, true),
            ("*@sha256:*", "nginx:1.25", false),
            ("*", "anything at all", true),
            ("**", "nginx", true),
        ] {
            assert_eq!(is_meant(pattern, image), expected, "{pattern} {image}");
        }
    }

    #[test]
    fn what_says_more_goes_first() {
        let pinned = format!("nginx@{DIGEST}");
        let patterns = [
            "*",
            "*/nginx:*",
            "nginx:*",
            "nginx:1.*",
            "nginx:1.25",
            &pinned,
        ];
        let order: Vec<_> = patterns.map(|text| Pattern::of(text).precision()).into();
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(order[0], Precision::Any);
        assert_eq!(order[4..], [Precision::Name, Precision::Digest]);
    }

    #[test]
    fn pieces_of_a_pattern_do_not_overlap() {
        for (pattern, text, expected) in [
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "ab", false),
            ("*ab*ab*", "abab", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// Texts that are names, or nearly.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z0-9.:/@_-]{0,30}",
            "(docker.io/|index.docker.io/|Quay.io/|localhost/|H/|)(library/|a/|)[a-z]{1,5}(:[a-z0-9.]{0,4}|)(@sha256:[0-9a-f]{0,4}|)",
            "\\PC{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(name in name()) {
            let once = normalised(&name);
            prop_assert_eq!(normalised(&once), once);
        }

        #[test]
        fn a_name_means_itself_and_every_way_to_write_it(name in name()) {
            prop_assume!(!name.contains('*'));
            prop_assert!(is_meant(&name, &name));
            prop_assert!(is_meant(&name, &normalised(&name)));
            prop_assert!(is_meant(&normalised(&name), &name));
        }

        #[test]
        fn a_pattern_of_a_name_means_it(name in "[a-z]{1,5}(/[a-z]{1,5}|):[a-z0-9.]{1,5}", from in 0_usize..12) {
            let from = from.clamp(1, name.len() - 1);
            prop_assume!(!name[..from].ends_with('/'));
            let pattern = format!("{}*", &name[..from]);
            // What is in front of the first slash would be any registry.
            prop_assume!(pattern.contains('/') || !name.contains('/'));
            prop_assert!(is_meant(&pattern, &name), "{} {}", pattern, name);
        }
    }
}
