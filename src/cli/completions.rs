//! `migplan completions`, and the hidden `migplan man-pages`: what a package installs beside the
//! binary. Both are made from the flags themselves, so they cannot differ from them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::Cli;
use super::output::{Console, write_result};
use crate::error::{Diagnostic, Error, Result};

/// Print what lets a shell complete the commands and flags
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/completions.txt").trim_ascii_end())]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Write the manual page of every command into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/man-pages.txt").trim_ascii_end())]
pub struct ManPagesArgs {
    /// The folder, which must exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args, _: &Console) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "migplan", &mut text);
    write_result(None, |out| out.write_all(&text))
}

pub(super) fn man_pages(args: &ManPagesArgs, _: &Console) -> Result<()> {
    let folder: &Path = &args.folder;
    let fail = |message: String| {
        Error::input(Diagnostic::new(message).in_file(folder.display().to_string()))
            .hint("name a folder that exists and that you may write to")
    };
    if !fs::metadata(folder).is_ok_and(|m| m.is_dir()) {
        return Err(fail("is not a folder".to_string()));
    }
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|e| fail(format!("cannot be written: {e}")))
}
