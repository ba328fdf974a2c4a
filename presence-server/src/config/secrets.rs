//! Settings that nobody else should read: where they may stand, and how they get here from a file.

use std::{fs::File, io::Read, path::Path, str::FromStr};

use zeroize::Zeroizing;

use super::{ConfigError, environment::Origin};

/// The longest file of a secret, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The setting `name`, which is set as `value` or stands in the file that `NAME_FILE` names.
///
/// `origin` says who has set the file.
pub(super) fn secret<T>(
    name: &'static str,
    value: Option<&T>,
    file: Option<&Path>,
    origin: impl Fn(&str) -> Origin,
) -> Result<Option<T>, ConfigError>
where
    T: Clone + FromStr<Err: ToString>,
{
    match (value, file) {
        (Some(_), Some(_)) => Err(ConfigError::TwoSecrets { name }),
        (value, None) => Ok(value.cloned()),
        (None, Some(path)) => {
            let file = format!("{name}_FILE");
            let bad = |reason: String| {
                let origin = origin(&file);
                ConfigError::BadValue { name: file.clone(), origin, reason }
            };
            let text = read(path).map_err(|reason| bad(format!("names a file that {reason}")))?;
            text.parse()
                .map(Some)
                .map_err(|error: T::Err| bad(format!("names a file whose text {}", error.to_string())))
        }
    }
}

/// The text of the file, without the line end that editors add.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = File::open(path).map_err(|error| format!("does not open: {error}"))?;
    let mut text = Zeroizing::new(String::new());
    let length = file
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read as text: {error}"))?;
    if length as u64 > LONGEST {
        return Err(format!("has more than {LONGEST} bytes"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
