//! Programs that are run on the way: nvidia-smi and systemctl.

/// What a program said, or how it ended where it said nothing.
pub(super) fn said(output: &std::process::Output) -> String {
    use std::os::unix::process::ExitStatusExt;
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = lines.join(" ");
    let end = match (output.status.signal(), output.status.code()) {
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) if said.is_empty() => format!("exit code {code}, and said nothing"),
        _ => return said,
    };
    if said.is_empty() { end } else { format!("{end}: {said}") }
}

/// A process group of its own for a program, so that Ctrl-C, which we answer by going back, does
/// not end it half-way.
pub(super) fn apart_from_the_terminal(
    command: &mut std::process::Command,
) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0)
}
