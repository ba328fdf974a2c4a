//! `presence-server`: see `--help`.

use std::{error::Error, io::IsTerminal, process::ExitCode};

use presence_server::{
    config::{Command, Config, LogFormat},
    healthcheck, run,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let command = match Config::read() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {}", causes(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    let result = match command {
        Command::Serve(config) => serve(config),
        Command::CheckConfig(config) => {
            print!("{}", config.effective());
            Ok(())
        }
        Command::Healthcheck { url } => healthcheck::check(&url).map_err(Into::into),
        Command::Print(text) => {
            print!("{text}");
            Ok(())
        }
        other => Err(format!("{other:?} is not known").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format(std::io::stderr().is_terminal()) {
        LogFormat::Json => log.json().init(),
        _ => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(run(config))?)
}

/// An error and what caused it, on one line.
fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
