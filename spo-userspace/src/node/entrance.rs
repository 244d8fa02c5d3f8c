//! What [`super::setup`] put into the kubelet's folder of profiles and nothing goes without: the link
//! through which the kubelet finds profiles, and the profiles that confine the daemon and what runs
//! beside it. Only root can mend them, so this looks, and says what is wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::setup::{
    ENRICHER_PROFILE, LINK, OWN_PROFILE, RECORDER_PROFILE, SetupError, VERIFIER_PROFILE,
};

/// The profiles, and whose they are. Without its own, a container does not start again.
const OWN: [(&str, &str); 4] = [
    (OWN_PROFILE, "the daemon itself"),
    (RECORDER_PROFILE, "the recorder beside the daemon"),
    (ENRICHER_PROFILE, "the log enricher beside the daemon"),
    (VERIFIER_PROFILE, "the verifier beside the daemon"),
];

/// No profile is as large.
const LARGEST: u64 = 16 << 20;

/// The kubelet's folder of profiles, and what is to be in it.
#[derive(Debug)]
pub struct Entrance {
    folder: PathBuf,
    /// Where the link is to lead.
    root: PathBuf,
    /// What is in each of the profiles; nothing where there was none, so that none is missed.
    own: [Option<Vec<u8>>; OWN.len()],
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is, for people.
    pub why: String,
    /// Whether `node-setup` mends it; it removes nothing that is not ours.
    pub is_mended: bool,
}

impl Trouble {
    fn mended(why: String) -> Self {
        Self {
            why,
            is_mended: true,
        }
    }
}

impl Entrance {
    /// The entrance in a kubelet's folder; the profiles there are to stay as they are now.
    pub fn new(kubelet: &Path, root: PathBuf) -> Self {
        let folder = kubelet.join("seccomp");
        let opened = open(&folder).ok();
        let own = OWN.map(|(name, _)| read(opened.as_ref()?, name).ok());
        Self { folder, root, own }
    }

    /// The folder that all of it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a file of this name matters.
    pub fn has(&self, name: &str) -> bool {
        name == LINK || OWN.iter().any(|(own, _)| *own == name)
    }

    /// What is wrong; an error if that cannot be found out.
    pub fn look(&self) -> io::Result<Option<Trouble>> {
        let folder = match open(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = format!("the folder {} is gone", self.folder.display());
                return Ok(Some(Trouble::mended(why)));
            }
            opened => opened?,
        };
        let mut all = vec![self.link(&folder)?];
        for ((name, whose), own) in OWN.into_iter().zip(&self.own) {
            if let Some(own) = own {
                all.push(self.own(&folder, name, whose, own)?);
            }
        }
        // What node-setup does not get past is in the way of the rest, too.
        let all = all.into_iter().flatten();
        Ok(all.min_by_key(|found| found.is_mended))
    }

    fn link(&self, folder: &OwnedFd) -> io::Result<Option<Trouble>> {
        let path = self.folder.join(LINK);
        let place = path.display();
        let data = match rustix::fs::statat(folder, LINK, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                let why = format!("the link {place}, through which it looks for profiles, is gone");
                return Ok(Some(Trouble::mended(why)));
            }
            data => data?,
        };
        if !FileType::from_raw_mode(data.st_mode).is_symlink() {
            return Ok(Some(Trouble {
                why: SetupError::Stranger { path }.to_string(),
                is_mended: false,
            }));
        }
        let target = rustix::fs::readlinkat(folder, LINK, Vec::new())?;
        if target.as_bytes() == self.root.as_os_str().as_bytes() {
            return Ok(None);
        }
        let why = format!(
            "the link {place}, through which it looks for profiles, leads to {:?} and not to {}",
            target.to_string_lossy(),
            self.root.display()
        );
        Ok(Some(Trouble::mended(why)))
    }

    fn own(
        &self,
        folder: &OwnedFd,
        name: &str,
        whose: &str,
        own: &[u8],
    ) -> io::Result<Option<Trouble>> {
        let path = self.folder.join(name);
        let trouble = |what: &str| {
            let place = path.display();
            Trouble::mended(format!("{place}, the profile of {whose}, {what}"))
        };
        let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Some(trouble("is gone")),
            Err(error) => return Err(error.into()),
            Ok(data) => match FileType::from_raw_mode(data.st_mode) {
                FileType::RegularFile if read(folder, name)? == own => None,
                FileType::Directory => Some(Trouble {
                    is_mended: false,
                    ..trouble("is a folder now, so it is not ours: move it away")
                }),
                _ => Some(trouble("was changed")),
            },
        };
        Ok(found)
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    // A container still sees a folder that was removed outside of it.
    if rustix::fs::fstat(&folder)?.st_nlink == 0 {
        return Err(Errno::NOENT.into());
    }
    Ok(folder)
}

fn read(folder: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let mut content = Vec::new();
    File::from(file).take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_whether_it_is_mended() {
        let outer = tempfile::tempdir().unwrap();
        let (kubelet, root) = (outer.path().join("kubelet"), outer.path().join("root"));
        let seccomp = kubelet.join("seccomp");
        fs::create_dir_all(&seccomp).unwrap();
        let (link, own) = (seccomp.join(LINK), seccomp.join(OWN_PROFILE));
        symlink(&root, &link).unwrap();
        let without = Entrance::new(&kubelet, root.clone());
        fs::write(&own, "{}").unwrap();
        let entrance = Entrance::new(&kubelet, root.clone());
        let wrong = |part: &str, is_mended: bool| {
            let found = entrance.look().unwrap().unwrap();
            assert!(found.why.contains(part), "{found:?}");
            assert_eq!(found.is_mended, is_mended, "{found:?}");
        };
        let right = || assert_eq!(entrance.look().unwrap(), None);
        right();

        fs::remove_file(&own).unwrap();
        wrong("itself, is gone", true);
        // What nobody put there is not missed.
        assert_eq!(without.look().unwrap(), None);
        symlink(&root, &own).unwrap();
        wrong("itself, was changed", true);
        fs::remove_file(&own).unwrap();
        fs::write(&own, "{ }").unwrap();
        wrong("itself, was changed", true);

        fs::write(&own, "{}").unwrap();
        for (name, whose) in [
            ("bpf-recorder.json", "recorder beside the daemon"),
            ("log-enricher.json", "log enricher beside the daemon"),
            ("verifier.json", "verifier beside the daemon"),
        ] {
            let other = seccomp.join(name);
            assert!(entrance.has(name) && !entrance.has("else.json"));
            // There was none at first.
            right();
            fs::write(&other, "{}").unwrap();
            right();
            let with = Entrance::new(&kubelet, root.clone());
            assert_eq!(with.look().unwrap(), None);
            for (content, is) in [(Some("{ }"), "was changed"), (None, "is gone")] {
                fs::remove_file(&other).unwrap();
                content.inspect(|content| fs::write(&other, content).unwrap());
                let found = with.look().unwrap().unwrap();
                assert!(found.why.ends_with(&format!("{whose}, {is}")), "{found:?}");
                assert!(found.is_mended);
            }
        }

        fs::remove_file(&link).unwrap();
        wrong("profiles, is gone", true);
        symlink("/else\nwhere", &link).unwrap();
        wrong(r#"leads to "/else\nwhere" and not to"#, true);
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        wrong("is no link, so it is not ours", false);
        fs::remove_dir(&link).unwrap();
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        wrong("is a folder now", false);
        fs::remove_dir(&own).unwrap();
        fs::write(&own, "{}").unwrap();
        symlink(&root, &link).unwrap();
        right();

        fs::remove_dir_all(&seccomp).unwrap();
        wrong("the folder", true);
        fs::write(&seccomp, "").unwrap();
        entrance.look().unwrap_err();
    }
}
