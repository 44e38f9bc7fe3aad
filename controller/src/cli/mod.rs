//! The `payflow` command: what hosts buy with, what operators run and look at.
//!
//! Results go to stdout, everything else to stderr; with `--json` stdout holds exactly one JSON document, also when
//! the controller refuses (its problem document). Exit status:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: something on this side, or no answer; the message says what to do |
//! | 2 | used wrongly: the options make no sense |
//! | 3 | refused by the controller, with a problem document |
//! | 4 | not decided yet: nothing is lost, run the same command again |
//!
//! The same table, with what a script does about it, is in `docs/operating.md`.

mod account;
mod audit;
mod backup;
mod buy;
pub(crate) mod client;
mod discover;
pub(crate) mod error;
mod expected;
mod flow;
mod generate;
mod logging;
mod metered;
mod operator;
mod passphrase;
mod purchase;
mod receipts;
mod serve;
mod service;
mod show;
mod units;
mod voucher;
pub(crate) mod wallet;
mod watch;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use payflow_payment::PublicKey;
use serde::Serialize;

use self::{client::Client, error::CliError};

/// Guaranteed bandwidth, one flow at a time.
#[derive(Debug, Parser)]
#[command(name = "payflow", version, propagate_version = true, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done, 1 failed, 2 used wrongly, 3 refused by the controller, \
     4 not decided yet (run the same command again).";

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Print one JSON document on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// The controller's API; where it is not said, what DHCP has told (option 224), this machine, or the default gateway.
    #[arg(long = "api", global = true, env = "PAYFLOW_API", value_name = "URL")]
    given_api: Option<String>,
    /// The certificates that an API over https is trusted by, in PEM: those of CAs, or the API's own. The system's when not said.
    #[arg(long, global = true, env = "PAYFLOW_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The same as --api, found.
    #[arg(skip)]
    api: String,
    /// Whom to believe, where that was found with it.
    #[arg(skip)]
    operator_key: Option<PublicKey>,
}

impl Common {
    /// Who asks the controller, as nobody yet.
    fn client(&self) -> Result<Client, CliError> {
        Client::trusting(&self.api, self.ca.as_deref())
    }

    /// Finds the controller, unless it was named.
    async fn find(&mut self) -> discover::Found {
        let found = match self.given_api.clone() {
            Some(api) => discover::Found {
                api,
                operator_key: None,
                by: "option",
            },
            None => discover::find().await,
        };
        self.api.clone_from(&found.api);
        self.operator_key = found.operator_key;
        found
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Controller(serve::ControllerArgs),
    /// Run the development ledger alone. Its money is worth nothing.
    Ledger(serve::LedgerArgs),
    /// Ask a node which validators sign, to pin them with `ledger.committee`. Nobody vouches for what it says.
    Committee(serve::CommitteeArgs),
    /// Check a configuration file and say everything that is wrong with it, and whether the keys and certificates that it
    /// names can be used.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Print the description of the HTTP API (OpenAPI 3.1), to make clients from.
    #[command(name = "openapi")]
    OpenApi,
    /// Take the class queues off every port, and delete their rows: for a controller that will not come back.
    RemoveQueues(serve::RemoveArgs),
    /// Copy the journal of a data directory, while its controller runs or not. The copy is read back and replayed.
    Backup(backup::BackupArgs),
    /// Put a copy in the journal's place. The controller must not run.
    Restore(backup::RestoreArgs),
    /// Say where the controller is, and who has told.
    Where,
    /// Print the completions for a shell.
    Completions(generate::CompletionsArgs),
    /// Write man pages, one for each command, into a directory.
    Man(generate::ManArgs),
    /// A host's key and coins.
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Key files under a passphrase.
    #[command(subcommand)]
    Key(passphrase::KeyCommand),
    /// Ask what bandwidth would cost; nothing is held or paid.
    Price(buy::PriceArgs),
    /// Ask for a quote, which holds the capacity for some seconds; nothing is paid.
    Quote(buy::QuoteArgs),
    /// Buy bandwidth: quote, payment and reservation in one step.
    Reserve(buy::ReserveArgs),
    /// Give what is carried another rate or duration, without a packet lost; what is replaced is refunded as far as it was not
    /// served.
    Change(buy::ChangeArgs),
    /// Show what a reservation gives, costs and has left, as it goes.
    Watch(watch::WatchArgs),
    /// Show a reservation, or all of this wallet's.
    Status(buy::StatusArgs),
    /// Fetch what the operator has signed of a reservation, and what is needed to check it later.
    Receipts(receipts::ReceiptsArgs),
    /// Check what `payflow --json receipts` printed, without any controller.
    VerifyReceipt(receipts::VerifyArgs),
    /// A prepaid account: paid into once, and spent without the ledger.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// End a reservation early; what is unserved is refunded, less the fee that the quote printed.
    Cancel(buy::CancelArgs),
    /// Switches and their ports.
    Switches,
    /// Make the controller forget the key that a switch came with first (operator): after the switch was replaced or has
    /// a new key. The next one that comes with the datapath id has it.
    ForgetSwitch(operator::ForgetArgs),
    /// Take what leaves a switch, or one of its ports, out of service (operator): nothing new is sold there, and what is carried
    /// moves where there is room. Again tries again.
    Drain(operator::DrainArgs),
    /// Put it into service again (operator).
    Undrain(operator::DrainArgs),
    /// Sell nothing new (operator): what is sold is served, open quotes can be paid. Outlives a restart.
    StopSelling(operator::TokenArgs),
    /// Sell again (operator).
    ResumeSelling(operator::TokenArgs),
    /// Directed links: capacity and what is sold of it.
    Links,
    /// Every reservation (operator).
    Reservations(operator::TokenArgs),
    /// Hosts as the network has learned them (operator).
    Hosts(operator::TokenArgs),
    /// The books: what has come to every account and left it (operator).
    Accounts(audit::ListArgs),
    /// The books: every movement of money from one account to another (operator).
    Transfers(audit::ListArgs),
    /// Check the books: in themselves, against the reservations, and against the ledger (operator).
    Audit(audit::AuditArgs),
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
struct Out {
    json: bool,
}

impl Out {
    /// One document: as JSON, or as text for people.
    fn print(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        let mut text = if self.json {
            serde_json::to_string_pretty(document)
                .map_err(|error| CliError::Failed(error.to_string()))?
        } else {
            text().trim_end().to_owned()
        };
        text.push('\n');
        self.text(&text)
    }

    /// As it is.
    fn text(self, text: &str) -> Result<(), CliError> {
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| CliError::Failed(format!("stdout: {error}"))),
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out {
        json: cli.common.json,
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("the runtime cannot be started: {error}")))
        .and_then(|runtime| runtime.block_on(run(cli, out)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payflow: {error}");
            if let (true, Some(document)) = (out.json, error.document())
                && let Err(error) = out.print(&document, String::new)
            {
                eprintln!("payflow: {error}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

async fn run(cli: Cli, out: Out) -> Result<(), CliError> {
    let mut common = cli.common;
    let found = match &cli.command {
        // They ask no controller.
        Command::Controller(_)
        | Command::Ledger(_)
        | Command::Committee(_)
        | Command::CheckConfig { .. }
        | Command::RemoveQueues(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::VerifyReceipt(_) => None,
        _ => Some(common.find().await),
    };
    let common = &common;
    match cli.command {
        Command::Controller(args) => serve::controller(args).await,
        Command::Ledger(args) => serve::ledger(args, out).await,
        Command::Committee(args) => serve::committee(&args).await,
        Command::CheckConfig { file } => serve::check_config(&file, out),
        Command::OpenApi => out.text(crate::api::openapi::text()),
        Command::RemoveQueues(args) => serve::remove_queues(&args, out).await,
        Command::Backup(args) => backup::backup(&args, out).await,
        Command::Restore(args) => backup::restore(&args, out).await,
        Command::Completions(args) => generate::completions(&args, out),
        Command::Man(args) => generate::man(&args, out),
        Command::Where => out.print(&found, || {
            found
                .as_ref()
                .map_or_else(String::new, discover::Found::text)
        }),
        Command::Watch(args) => watch::watch(&args, common, out).await,
        Command::StopSelling(args) => operator::sell(&args, false, common, out).await,
        Command::ResumeSelling(args) => operator::sell(&args, true, common, out).await,
        Command::Wallet(command) => wallet::run(command, common, out).await,
        Command::Key(command) => passphrase::run(command, out),
        Command::Price(args) => buy::price(args, common, out).await,
        Command::Quote(args) => buy::quote(args, common, out).await,
        Command::Reserve(args) => buy::reserve(args, common, out).await,
        Command::Change(args) => buy::change(args, common, out).await,
        Command::Status(args) => buy::status(args, common, out).await,
        Command::Receipts(args) => receipts::receipts(&args, common, out).await,
        Command::VerifyReceipt(args) => receipts::verify_receipt(&args, out).await,
        Command::Account(command) => account::run(command, common, out).await,
        Command::Cancel(args) => buy::cancel(args, common, out).await,
        Command::Switches => operator::switches(common, out).await,
        Command::ForgetSwitch(args) => operator::forget_switch(&args, common, out).await,
        Command::Drain(args) => operator::drain(&args, true, common, out).await,
        Command::Undrain(args) => operator::drain(&args, false, common, out).await,
        Command::Links => operator::links(common, out).await,
        Command::Reservations(args) => operator::reservations(&args, common, out).await,
        Command::Hosts(args) => operator::hosts(&args, common, out).await,
        Command::Accounts(args) => audit::accounts(&args, common, out).await,
        Command::Transfers(args) => audit::transfers(&args, common, out).await,
        Command::Audit(args) => audit::audit(&args, common, out).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_reserve_command_is_understood() {
        let line = "payflow reserve --to 10.0.0.4 --udp 5201 --rate 10Mbit --for 30s --max-price 0.5 --json";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(cli.common.json);
        assert!(matches!(cli.command, Command::Reserve(_)));
    }

    #[test]
    fn what_makes_no_sense_is_said_with_what_to_write() {
        let cases = [
            (
                "reserve --to 10.0.0.4 --rate 10Mbit --for 30s",
                "--udp <PORTS>|--tcp <PORTS>",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --tcp 1 --rate 10Mbit --for 30s",
                "cannot be used with",
            ),
            (
                "reserve --to host --udp 1 --rate 10Mbit --for 30s",
                "IP address",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10 --for 30s",
                "10Mbit",
            ),
            (
                "reserve --to 10.0.0.4 --udp 0 --rate 10Mbit --for 30s",
                "ports are 1 to 65535",
            ),
            (
                "reserve --to 10.0.0.4 --udp 5010-5000 --rate 10Mbit --for 30s",
                "ends before it begins",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10Mbit --for 30",
                "30s",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10Mbit --for 0s",
                "30s",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10Mbit --for 30s --max-price -1",
                "--max-price",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10Mbit --for 30s --max-price 1EUR",
                "0.5",
            ),
            (
                "reserve --to 10.0.0.4 --udp 1 --rate 10Mbit --for 30s --class gold",
                "steady",
            ),
            ("cancel 17", "r17"),
        ];
        for (line, hint) in cases {
            let words = std::iter::once("payflow").chain(line.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(hint), "{line}: {error}");
        }
    }
}
