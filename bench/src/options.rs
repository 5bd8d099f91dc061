//! The command line.

use lexopt::prelude::*;

/// The name of what a workload does unless told otherwise.
pub const DEFAULT_VARIANT: &str = "default";

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which workload.
    pub workload: String,
    /// Its size.
    pub n: Option<u64>,
    /// How many processors run goroutines.
    pub processors: Option<usize>,
    /// How many tasks, where the workload leaves it open.
    pub tasks: Option<u64>,
    /// Which way of doing it.
    pub variant: String,
    /// Where a server listens.
    pub address: Option<String>,
    /// For how many seconds to sleep, where the workload sleeps.
    pub seconds: Option<u64>,
}

impl Options {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// When they are not of the form in [`crate`]'s description.
    pub fn from_arguments() -> Result<Options, lexopt::Error> {
        let mut options = Options {
            workload: String::new(),
            n: None,
            processors: None,
            tasks: None,
            variant: DEFAULT_VARIANT.to_owned(),
            address: None,
            seconds: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("n") => options.n = Some(parser.value()?.parse()?),
                Long("procs") => options.processors = Some(parser.value()?.parse()?),
                Long("tasks") => options.tasks = Some(parser.value()?.parse()?),
                Long("variant") => options.variant = parser.value()?.string()?,
                Long("addr") => options.address = Some(parser.value()?.string()?),
                Long("secs") => options.seconds = Some(parser.value()?.parse()?),
                Value(name) if options.workload.is_empty() => options.workload = name.string()?,
                other => return Err(other.unexpected()),
            }
        }
        if options.workload.is_empty() {
            return Err(
                "which workload? gaggle-bench WORKLOAD [--n N] [--procs P] [--tasks T] \
                        [--variant V] [--addr A] [--secs S]"
                    .into(),
            );
        }
        Ok(options)
    }

    /// The workload's size.
    pub fn size(&self) -> u64 {
        self.n.expect("main has set the workload's own size")
    }

    /// `Some` when the variant is the default one.
    pub fn default_only(&self) -> Option<()> {
        (self.variant == DEFAULT_VARIANT).then_some(())
    }
}
