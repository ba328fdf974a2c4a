//! Where PostgreSQL is installed, and who may run it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The binary of this name.
///
/// # Panics
///
/// It is not installed; the message says what to install.
pub(crate) fn find(name: &str) -> PathBuf {
    // Debian links only some of the binaries into `PATH`, and those by way of a script that looks for clusters.
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = versions().into_iter().rev().chain(env::split_paths(&path));
    folders.find_map(|folder| folder.join(name).canonicalize().ok()).unwrap_or_else(|| {
        panic!(
            "{name} is not installed: install PostgreSQL 15 or newer (Debian: apt-get install postgresql), or set {}",
            super::URL
        )
    })
}

/// The folders of Debian's versions, the newest last.
fn versions() -> Vec<PathBuf> {
    let folders = Path::new("/usr/lib/postgresql").read_dir().into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = folders
        .filter_map(|folder| Some((folder.file_name().to_str()?.parse().ok()?, folder.path().join("bin"))))
        .collect();
    versions.sort();
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// The ids of the user `postgres`, where the tests run as root: PostgreSQL refuses to.
pub(crate) fn unprivileged() -> Option<(u32, u32)> {
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| {
        panic!("there is no user postgres to run PostgreSQL as (Debian: apt-get install postgresql makes it)")
    })
}
