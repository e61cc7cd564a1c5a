//! A reader that has seen enough: `wk sql … | head` ends without a word, as other programs do.

use std::panic;
use std::process;

/// What a shell says of a program that SIGPIPE has ended: 128 and the number of the signal.
const NOBODY_READS: i32 = 141;

/// `println!` panics when nobody reads any more. From now on that panic ends the process; every other is told as before.
#[expect(
    clippy::exit,
    reason = "a panic hook has no other way to end the process, and nobody reads what is left to say"
)]
pub(crate) fn end_when_nobody_reads() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let about = panic.payload_as_str().unwrap_or_default();
        if about.starts_with("failed printing to stdout") && about.contains("Broken pipe") {
            process::exit(NOBODY_READS);
        }
        tell(panic);
    }));
}
