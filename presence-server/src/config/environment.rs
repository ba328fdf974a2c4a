//! The variables that count: those of the process, and those of `.env` beneath them.

use std::{
    cell::Cell,
    collections::{BTreeMap, btree_map::Entry},
    env,
    ffi::OsString,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::ConfigError;

/// Names that begin with `PRESENCE_` and are not settings: they steer tests, which start servers with the environment
/// they have themselves.
const OF_TESTS: [&str; 3] = ["PRESENCE_LAW_FACTOR", "PRESENCE_RANGE_DIR", "PRESENCE_REQUIRE_POSTGRES"];

/// Variables by name. Empty ones are not in it: they count as unset.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, Value>,
}

#[derive(Clone)]
struct Value {
    text: OsString,
    origin: Origin,
}

/// Who has set a value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// A flag.
    Flag,
    /// The environment of the process.
    Environment,
    /// The file.
    File(PathBuf),
}

impl Environment {
    /// The variables of a process.
    pub fn new<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let mut environment = Self::default();
        for (name, text) in variables {
            // A name that is not UTF-8 is nobody's setting; lossy, it is still seen where it begins with PRESENCE_.
            let name = name.into().to_string_lossy().into_owned();
            environment.insert(name, text.into(), Origin::Environment);
        }
        environment
    }

    /// Reads the variables of this process, and beneath them `.env` of the working directory or of the nearest
    /// directory above it that has one, as dotenvy finds it.
    ///
    /// # Errors
    ///
    /// `.env` exists and cannot be read.
    pub fn read() -> Result<Self, ConfigError> {
        // Where there is no working directory any more, there is no file in it either.
        Self::new(env::vars_os()).beneath_file_of(&env::current_dir().unwrap_or_default())
    }

    fn beneath_file_of(self, directory: &Path) -> Result<Self, ConfigError> {
        let Some(path) = directory.ancestors().map(|dir| dir.join(".env")).find(|path| path.is_file()) else {
            return Ok(self);
        };
        match fs::read(&path) {
            Ok(text) => self.beneath(&path, &text),
            Err(source) => Err(ConfigError::UnreadableFile { path, source }),
        }
    }

    /// Adds what `text`, the content of the file at `path`, says about variables that are unset; of several lines
    /// with one name the first counts that is not empty. `${NAME}` is replaced as dotenvy does, unless in single
    /// quotes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MalformedFile`] with the line.
    pub fn beneath(mut self, path: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        let lines_read = Cell::new(0);
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        for entry in dotenvy::from_read_iter(ByLine { rest: text, lines_read: &lines_read }) {
            let (name, value) = entry.map_err(|error| {
                // dotenvy's own message repeats the line, which may hold a secret, and does not number it. An entry
                // whose quote is never closed is named by the line that opens it.
                let lines = match &error {
                    dotenvy::Error::LineParse(entry, _) => entry.lines().count().max(1),
                    _ => 1,
                };
                let line = (lines_read.get() + 1).saturating_sub(lines).max(1);
                ConfigError::MalformedFile { path: path.to_owned(), line }
            })?;
            self.insert(name, value.into(), Origin::File(path.to_owned()));
        }
        Ok(self)
    }

    fn insert(&mut self, name: String, text: OsString, origin: Origin) {
        if let (false, Entry::Vacant(slot)) = (text.is_empty(), self.values.entry(name)) {
            slot.insert(Value { text, origin });
        }
    }

    /// The value of `name`; `None` where it is unset or empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        let text = value.text.to_str().ok_or_else(|| ConfigError::BadValue {
            name: name.to_owned(),
            origin: value.origin.clone(),
            reason: "must be UTF-8".to_owned(),
        })?;
        Ok(Some(text))
    }

    /// Who has set `name`: a flag where the environment has not.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Flag, |value| value.origin.clone())
    }

    /// Refuses names that look like ours and are not in `known`: a setting that is misspelt would silently not count.
    pub(super) fn refuse_unknown(&self, known: &[String]) -> Result<(), ConfigError> {
        let is_known = |name: &String| {
            known.contains(name) || OF_TESTS.contains(&name.as_str()) || name.starts_with("PRESENCE_TEST_")
        };
        let unknown: Vec<String> = self
            .values
            .iter()
            .filter(|(name, value)| {
                name.starts_with("PRESENCE_") && !is_known(name) && !is_service_link(name, value)
            })
            .map(|(name, _)| name.clone())
            .collect();
        if unknown.is_empty() { Ok(()) } else { Err(ConfigError::UnknownVariables { names: unknown }) }
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("a flag"),
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Whether Kubernetes has set the variable: it tells every pod where the services of its namespace are, so that one
/// named `presence` would otherwise keep the server from starting.
fn is_service_link(name: &str, value: &Value) -> bool {
    let is_url = || {
        let text = value.text.to_string_lossy();
        ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
    };
    let of_a_port = |rest: &str| {
        let number = rest.split('_').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && rest.len() > number.len()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url())
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| of_a_port(rest))
        || name
            .strip_suffix("_PORT")
            .and_then(|name| name.rsplit_once("_PORT_"))
            .is_some_and(|(_, rest)| of_a_port(rest))
}

/// Hands out one line per read, so that what was read last says where the reader is.
struct ByLine<'a> {
    rest: &'a [u8],
    lines_read: &'a Cell<usize>,
}

impl Read for ByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
        let (now, later) = self.rest.split_at(line.min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.rest = later;
        if now.ends_with(b"\n") || (!now.is_empty() && later.is_empty()) {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(now.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_upwards_counts() {
        let root = tempfile::tempdir().unwrap();
        let (near, deep) = (root.path().join("near"), root.path().join("near/deep"));
        // A directory of that name is not a file.
        fs::create_dir_all(deep.join(".env")).unwrap();
        let read = |dir: &Path| Environment::default().beneath_file_of(dir).unwrap();
        fs::write(root.path().join(".env"), "LOG_FORMAT=json\n").unwrap();
        assert_eq!(read(&deep).text("LOG_FORMAT").unwrap(), Some("json"));
        fs::write(near.join(".env"), "LOG_FORMAT=pretty\n").unwrap();
        assert_eq!(read(&deep).text("LOG_FORMAT").unwrap(), Some("pretty"));
        assert_eq!(read(root.path()).text("LOG_FORMAT").unwrap(), Some("json"));
        assert!(read(&deep).origin("LOG_FORMAT").to_string().ends_with("near/.env"));
    }

    #[test]
    fn links_of_kubernetes_are_not_settings() {
        let is_link = |name: &str, text: &str| {
            is_service_link(name, &Value { text: text.into(), origin: Origin::Environment })
        };
        for (name, text) in [
            ("PRESENCE_SERVICE_HOST", "10.0.0.11"),
            ("PRESENCE_SERVICE_PORT", "3000"),
            ("PRESENCE_SERVICE_PORT_HTTP", "3000"),
            ("PRESENCE_PORT", "tcp://10.0.0.11:3000"),
            ("PRESENCE_PORT_3000_TCP", "tcp://10.0.0.11:3000"),
            ("PRESENCE_SERVER_PORT_3000_TCP_PROTO", "tcp"),
            ("PRESENCE_SERVER_PORT_3000_TCP_PORT", "3000"),
            ("PRESENCE_SERVER_PORT_3000_TCP_ADDR", "10.0.0.11"),
        ] {
            assert!(is_link(name, text), "{name}");
        }
        for (name, text) in [
            ("PRESENCE_PORT", "3000"),
            ("PRESENCE_TIMEZON", "UTC"),
            ("PRESENCE_PORT_RANGE", "1"),
            ("PRESENCE_PORT_3000", "1"),
        ] {
            assert!(!is_link(name, text), "{name}");
        }
    }
}
