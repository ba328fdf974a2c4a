//! Who may do what: the settings.

use std::{path::PathBuf, time::Duration};

use super::{
    ConfigError, MASK, Origins, YEAR,
    environment::Origin,
    secrets::secret,
    value::{name, seconds},
};
use crate::auth::{Access, AdminKeys, Secret, Tokens};

/// The settings of who may do what.
// The doc comments of the fields are the text of `--help`: they are written for the operator, and keep their lines.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AccessOptions {
    /// The secret of whoever issues tokens to users: at least 32 bytes. With it users need
    /// Authorization: Bearer and a JWT (HS256; exp, sub, aud; scope admin for other users than
    /// sub), but for the health routes. Without it everybody may do everything that users may.
    /// As a flag it is refused, because every process of the machine could read it there.
    #[arg(long, value_name = "SECRET", value_parser = str::parse::<Secret>, help_heading = "Access",
          verbatim_doc_comment)]
    jwt_secret: Option<Secret>,

    /// A file with the text of JWT_SECRET; one line end at its end does not count. Both at once
    /// are refused.
    #[arg(long, value_name = "PATH", help_heading = "Access", verbatim_doc_comment)]
    jwt_secret_file: Option<PathBuf>,

    /// What the aud of a token must be, or contain.
    #[arg(long, value_name = "NAME", default_value = "presence", value_parser = name, help_heading = "Access",
          verbatim_doc_comment)]
    jwt_audience: String,

    /// What the iss of a token must be. Without it iss is not looked at.
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "Access", verbatim_doc_comment)]
    jwt_issuer: Option<String>,

    /// How far ahead the exp of a token may be, in seconds, from 1 to a year.
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = seconds(1..=YEAR),
          help_heading = "Access", verbatim_doc_comment)]
    jwt_max_age_secs: Duration,

    /// The key of operators, sent as X-Api-Key: at least 32 visible ASCII characters, or sha256:
    /// and the hex digest of the key. Several with commas between them are taken side by side.
    /// Without it what needs a key answers 401 to everybody. As a flag it is refused.
    #[arg(long, value_name = "KEYS", value_parser = str::parse::<AdminKeys>, help_heading = "Access",
          verbatim_doc_comment)]
    admin_api_key: Option<AdminKeys>,

    /// A file with the text of ADMIN_API_KEY; one line end at its end does not count. Both at
    /// once are refused.
    #[arg(long, value_name = "PATH", help_heading = "Access", verbatim_doc_comment)]
    admin_api_key_file: Option<PathBuf>,

    /// The pages of other servers that browsers let ask this one: origins such as
    /// https://app.example with commas between them, compared exactly. Without it none.
    #[arg(long, value_name = "ORIGINS", value_parser = str::parse::<Origins>, help_heading = "Access",
          verbatim_doc_comment)]
    cors_origins: Option<Origins>,

    #[arg(skip)]
    secrets: Secrets,
}

/// The secrets, wherever they stand.
#[derive(Clone, Debug, Default)]
struct Secrets {
    jwt: Option<Secret>,
    admin: Option<AdminKeys>,
}

impl AccessOptions {
    /// The ids of options that must not be among the arguments of a process.
    pub(super) const NO_FLAGS: [&str; 2] = ["jwt_secret", "admin_api_key"];

    /// Takes the secrets from where they stand; `origin` says who has set a variable.
    pub(super) fn read_secrets(&mut self, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        let (value, file) = (self.jwt_secret.as_ref(), self.jwt_secret_file.as_deref());
        self.secrets.jwt = secret("JWT_SECRET", value, file, &origin)?;
        let (value, file) = (self.admin_api_key.as_ref(), self.admin_api_key_file.as_deref());
        self.secrets.admin = secret("ADMIN_API_KEY", value, file, &origin)?;
        Ok(())
    }

    /// What a server that other machines reach lacks.
    pub(super) const fn missing(&self) -> Option<&'static str> {
        match (&self.secrets.jwt, &self.secrets.admin) {
            (None, None) => Some("JWT_SECRET and ADMIN_API_KEY"),
            (None, Some(_)) => Some("JWT_SECRET"),
            (Some(_), None) => Some("ADMIN_API_KEY"),
            (Some(_), Some(_)) => None,
        }
    }

    pub(super) const fn has_tokens(&self) -> bool {
        self.secrets.jwt.is_some()
    }

    pub(super) fn access(&self, is_loopback: bool) -> Access {
        let mut access = Access::open();
        if let Some(secret) = &self.secrets.jwt {
            let (audience, issuer) = (&self.jwt_audience, self.jwt_issuer.as_deref());
            access = access.with_tokens(Tokens::new(secret, audience, issuer, self.jwt_max_age_secs));
        }
        if let Some(keys) = &self.secrets.admin {
            access = access.with_admin_keys(keys.clone());
        }
        if is_loopback { access } else { access.with_closed_operations() }
    }

    pub(super) fn cors_origins(&self) -> Origins {
        self.cors_origins.clone().unwrap_or_default()
    }

    /// As [`Config::settings`](super::Config::settings).
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let mask = |is_set: bool| if is_set { MASK.to_owned() } else { String::new() };
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        vec![
            ("JWT_SECRET", mask(self.jwt_secret.is_some())),
            ("JWT_SECRET_FILE", path(&self.jwt_secret_file)),
            ("JWT_AUDIENCE", self.jwt_audience.clone()),
            ("JWT_ISSUER", self.jwt_issuer.clone().unwrap_or_default()),
            ("JWT_MAX_AGE_SECS", self.jwt_max_age_secs.as_secs().to_string()),
            ("ADMIN_API_KEY", mask(self.admin_api_key.is_some())),
            ("ADMIN_API_KEY_FILE", path(&self.admin_api_key_file)),
            ("CORS_ORIGINS", self.cors_origins().to_string()),
        ]
    }
}
