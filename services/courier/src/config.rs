//! The settings: command line first, then `COURIER_*` variables, then the defaults.

use crate::domain::address::AddressPolicy;
use crate::domain::retry::RetryPolicy;
use crate::usecase::dispatch::DispatchSettings;
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A webhook outbox: takes events over HTTP and delivers each to its endpoints, at least once, in
/// order per key.
#[derive(Debug, Parser)]
#[command(name = "courier", version, about)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Takes events on an HTTP address and delivers them, until SIGTERM or SIGINT.
    Serve(ServeOptions),
    /// Shows the whole on this machine: a child serves, a receiver here checks every webhook, and
    /// the child is killed half-way.
    Demo(DemoOptions),
}

/// The settings of `courier serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// The address of the API; port 0 takes a free one, which READY then names.
    #[arg(long, env = "COURIER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The SQLite file. It is created when it is not there; its folder must be.
    #[arg(long, env = "COURIER_DATABASE", default_value = "courier.db")]
    pub database: PathBuf,
    /// The most deliveries in flight at once.
    #[arg(long, env = "COURIER_WORKERS", default_value_t = 10_000, value_parser = positive)]
    pub workers: usize,
    /// The most unfinished deliveries; beyond it, publishing is answered by 429.
    #[arg(long, env = "COURIER_QUEUE_LIMIT", default_value_t = 1_000_000)]
    pub queue_limit: u64,
    /// The delay after the first failed attempt, in milliseconds; it doubles with each.
    #[arg(long, env = "COURIER_RETRY_BASE_MS", default_value_t = 5_000)]
    pub retry_base_ms: u64,
    /// The longest delay between attempts, also when a receiver asks for more, in seconds.
    #[arg(long, env = "COURIER_RETRY_CAP_SECONDS", default_value_t = 3_600)]
    pub retry_cap_seconds: u64,
    /// How many attempts are made before a delivery is a dead letter.
    #[arg(long, env = "COURIER_MAX_ATTEMPTS", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
    /// How long one attempt may take, from DNS to the last byte of the answer, in seconds.
    #[arg(long, env = "COURIER_DEADLINE_SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline_seconds: u64,
    /// How long a lease lasts, in seconds; longer than the deadline.
    #[arg(long, env = "COURIER_LEASE_SECONDS", default_value_t = 60)]
    pub lease_seconds: u64,
    /// How long deliveries in flight may go on at shutdown, in seconds; the rest are given back.
    #[arg(long, env = "COURIER_DRAIN_SECONDS", default_value_t = 25)]
    pub drain_seconds: u64,
    /// Private or reserved networks that may be called all the same, as CIDR, separated by commas
    /// (for example 127.0.0.0/8 for receivers on this machine).
    #[arg(
        long,
        env = "COURIER_ALLOW_NETWORK",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub allow_network: Vec<IpNet>,
    /// Allows every private and reserved network. Only where all endpoints are your own.
    #[arg(long, env = "COURIER_ALLOW_PRIVATE_NETWORKS")]
    pub allow_private_networks: bool,
    /// Says what happens as JSON objects, one a line.
    #[arg(long, env = "COURIER_JSON")]
    pub json: bool,
    /// Stops, as by SIGTERM, when standard input ends: a child that does not outlive its parent.
    #[arg(long, hide = true)]
    pub stop_at_end_of_input: bool,
}

/// The settings of `courier demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoOptions {
    /// Prints one JSON object in place of the progress and the table.
    #[arg(long)]
    pub json: bool,
    /// Does not kill the child half-way.
    #[arg(long)]
    pub no_kill: bool,
    /// Leaves out the same load on the threads backend.
    #[arg(long)]
    pub no_compare: bool,
    /// Your own events: a file with one JSON object a line, each with an `id` and a customer
    /// (`data.object.customer`, `customer`, or the object itself).
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// How many events to publish; more than the file has repeat it under new ids.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    pub events_count: usize,
    /// In place of the usual load: N endpoints that hold each request for 5 seconds, an event each,
    /// all in flight at once.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub slow_receivers: Option<usize>,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

impl CommandLine {
    /// Reads the process's arguments and variables. On a mistake it says so and ends the process
    /// with status 2; on `--help`, with 0.
    pub fn read() -> Self {
        let line = Self::parse();
        if let Command::Serve(options) = &line.command
            && let Err(reason) = options.check()
        {
            Self::command()
                .error(ErrorKind::ValueValidation, reason)
                .exit();
        }
        line
    }
}

impl ServeOptions {
    /// Checks what one argument alone does not show.
    ///
    /// # Errors
    /// Says which arguments do not go together.
    pub fn check(&self) -> Result<(), String> {
        if self.lease_seconds <= self.deadline_seconds {
            return Err(format!(
                "--lease-seconds ({}) must be longer than --deadline-seconds ({})",
                self.lease_seconds, self.deadline_seconds
            ));
        }
        Ok(())
    }

    /// What the dispatcher needs.
    pub fn dispatch(&self) -> DispatchSettings {
        DispatchSettings {
            workers: self.workers,
            lease: Duration::from_secs(self.lease_seconds),
            retry: RetryPolicy {
                base_milliseconds: self.retry_base_ms,
                cap_milliseconds: self.retry_cap_seconds.saturating_mul(1_000),
                attempts_max: self.max_attempts,
            },
        }
    }

    /// Which addresses may be called.
    pub fn addresses(&self) -> AddressPolicy {
        AddressPolicy::new(self.allow_network.clone(), self.allow_private_networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Result<ServeOptions, String> {
        let line = ["courier", "serve"].iter().chain(arguments);
        match CommandLine::try_parse_from(line) {
            Ok(CommandLine {
                command: Command::Serve(options),
            }) => options.check().map(|()| options),
            Ok(_) => Err("another command".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_whole() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn networks_are_a_list_and_default_to_none() {
        assert!(serve(&[]).unwrap().allow_network.is_empty());
        let options = serve(&["--allow-network", "127.0.0.0/8,fd00::/8"]).unwrap();
        assert_eq!(options.allow_network.len(), 2);
        assert!(options.addresses().permits("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, word) in [
            (&["--workers", "0"][..], "--workers"),
            (&["--max-attempts", "0"], "--max-attempts"),
            (&["--allow-network", "10.0.0.1/99"], "--allow-network"),
            (&["--lease-seconds", "20"], "--deadline-seconds"),
            (&["--listen", "here"], "--listen"),
            (&["--nonsense"], "--nonsense"),
        ] {
            let error = serve(arguments).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
