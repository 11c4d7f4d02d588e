//! The `migplan` command: everything is in the library, see `migplan::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    migplan::cli::main()
}
