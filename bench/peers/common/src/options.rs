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
    /// How many OS threads run tasks.
    pub processors: usize,
    /// How many tasks, where the workload leaves it open.
    pub tasks: u64,
    /// Which way of doing it.
    pub variant: String,
    /// Where a server listens.
    pub address: Option<String>,
    /// For how many seconds to sleep, where the workload sleeps.
    pub seconds: u64,
}

impl Options {
    /// Reads the process's arguments; no number of processors is a 0.
    ///
    /// # Errors
    /// When they are not of the form that the README gives.
    pub fn from_arguments() -> Result<Options, lexopt::Error> {
        let mut options = Options {
            workload: String::new(),
            n: None,
            processors: 0,
            tasks: 8,
            variant: DEFAULT_VARIANT.to_owned(),
            address: None,
            seconds: 10,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("n") => options.n = Some(parser.value()?.parse()?),
                Long("procs") => options.processors = parser.value()?.parse()?,
                Long("tasks") => options.tasks = parser.value()?.parse()?,
                Long("variant") => options.variant = parser.value()?.string()?,
                Long("addr") => options.address = Some(parser.value()?.string()?),
                Long("secs") => options.seconds = parser.value()?.parse()?,
                Value(name) if options.workload.is_empty() => options.workload = name.string()?,
                other => return Err(other.unexpected()),
            }
        }
        if options.workload.is_empty() {
            return Err(
                "which workload? WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] \
                 [--addr A] [--secs S]"
                    .into(),
            );
        }
        Ok(options)
    }

    /// The workload's size.
    ///
    /// # Panics
    /// Before [`chosen`](crate::chosen) has set it.
    pub fn size(&self) -> u64 {
        self.n.expect("`chosen` has set the workload's own size")
    }

    /// Where a server is to listen.
    pub fn address_to_bind(&self) -> &str {
        self.address.as_deref().unwrap_or("127.0.0.1:0")
    }

    /// `Some` when the variant is the default one.
    pub fn default_only(&self) -> Option<()> {
        (self.variant == DEFAULT_VARIANT).then_some(())
    }
}
