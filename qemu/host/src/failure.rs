//! How a command fails: a cause, a next step, an exit status.

use std::fmt;
use std::process::ExitCode;

/// What went wrong, for the user: one line, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    cause: String,
    remedy: Option<String>,
    usage: bool,
}

impl Failure {
    /// The thing asked for failed: exit status 1.
    #[must_use]
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: None, usage: false }
    }

    /// What was asked for makes no sense: exit status 2, as for an unknown flag.
    #[must_use]
    pub fn usage(cause: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(cause) }
    }

    /// The same failure with a next step.
    #[must_use]
    pub fn help(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The exit status of the program.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\nhelp: {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
