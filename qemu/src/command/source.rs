//! From a configuration file to the bytes of an image: shared by `check`, `build`, `run` and `demo`.

use std::fs;
use std::path::Path;

use weir_config::{Action, Config};
use weir_image::{base, elf, payload};

use crate::cli;
use crate::failure::Failure;

/// A configuration that has been read and found good.
pub struct Source {
    /// The text, which goes into the image.
    pub text: String,
    /// What it says.
    pub config: Config,
}

impl Source {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid configuration.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            let failure = Failure::new(format!("cannot read {}: {error}", path.display()));
            if error.kind() == std::io::ErrorKind::InvalidData {
                failure.help("configurations are UTF-8 text")
            } else {
                failure.help("give the path of a configuration in TOML")
            }
        })?;
        Self::parse(text, &path.display().to_string())
    }

    /// Validates a text; `name` stands for it in messages.
    ///
    /// # Errors
    /// When it is not a valid configuration.
    pub fn parse(text: String, name: &str) -> Result<Self, Failure> {
        match Config::parse(&text) {
            Ok(config) => Ok(Self { text, config }),
            Err(error) => {
                let place = format!("{name}:{}:{}", error.line(), error.column());
                Err(Failure::new(format!("{place}: {}", error.message())).help(error.help()))
            }
        }
    }

    /// Makes the image. Building the guest may take a while, and says so.
    ///
    /// # Errors
    /// When files are missing, or the guest cannot be built.
    pub fn image(&self, options: &cli::Source) -> Result<Vec<u8>, Failure> {
        self.check_files(options.files.as_deref())?;
        let payload = payload::pack(&self.text, options.files.as_deref())
            .map_err(|error| Failure::new(error.to_string()).help("--files takes a folder of regular files"))?;
        let base = match &options.base {
            Some(path) => base::read(path),
            None => base::build().and_then(|path| base::read(&path)),
        };
        let base = base.map_err(|error| Failure::new(error.to_string()))?;
        elf::attach(&base, &payload).map_err(|error| Failure::new(format!("cannot attach the configuration: {error}")))
    }

    /// Every folder that the configuration serves must be in the archive.
    fn check_files(&self, files: Option<&Path>) -> Result<(), Failure> {
        for route in self.config.listeners.iter().flat_map(|listener| &listener.routes) {
            let Action::Files(folder) = &route.action else { continue };
            let Some(files) = files else {
                return Err(Failure::new(format!(
                    "the configuration serves files (route {:?}), and there are none",
                    route.path
                ))
                .help("give the folder they are in: --files DIR"));
            };
            if !files.join(folder).is_dir() {
                return Err(Failure::new(format!("there is no folder {folder:?} in {}", files.display()))
                    .help(format!("route {:?} serves it; create it or correct 'files'", route.path)));
            }
        }
        Ok(())
    }
}
