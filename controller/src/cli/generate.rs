//! What is made from the command line itself: completions for shells, and man pages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Out, error::CliError};

/// `payflow completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    shell: Shell,
}

/// `payflow man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory for payflow.1, payflow-reserve.1, ...; made if it is not there.
    dir: PathBuf,
}

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs, out: Out) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "payflow", &mut script);
    let script = String::from_utf8(script).map_err(|error| CliError::Failed(error.to_string()))?;
    if out.json {
        return out.print(
            &json!({ "shell": args.shell.to_string(), "script": script }),
            String::new,
        );
    }
    out.text(&script)
}

/// Writes a man page for every command.
pub(super) fn man(args: &ManArgs, out: Out) -> Result<(), CliError> {
    let failed =
        |path: &Path, error: io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(&args.dir).map_err(|error| failed(&args.dir, error))?;
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .map_err(|error| failed(&args.dir, error))?;
    let mut pages: Vec<_> = fs::read_dir(&args.dir)
        .map_err(|error| failed(&args.dir, error))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("payflow") && name.ends_with(".1"))
        .collect();
    pages.sort();
    out.print(&json!({ "dir": args.dir, "pages": pages }), || {
        format!("{} pages in {}", pages.len(), args.dir.display())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_command_has_a_man_page_that_says_how_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let args = ManArgs {
            dir: dir.path().join("man"),
        };
        man(&args, Out { json: false }).unwrap();
        let page = fs::read_to_string(args.dir.join("payflow.1")).unwrap();
        assert!(page.contains("not decided yet"), "{page}");
        let missing: Vec<_> = Cli::command()
            .get_subcommands()
            .map(|it| format!("payflow-{}.1", it.get_name()))
            .filter(|it| !args.dir.join(it).exists())
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "payflow", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell}: {}",
                    command.get_name()
                );
            }
        }
    }
}
