//! Standard output of the commands. A reader that has seen enough (`portcullis render | head`) ends a command quietly;
//! `println!` would panic. A test of the house keeps `println!` out of this crate.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    process,
};

/// Writes to standard output, with a line end.
macro_rules! outln {
    ($($text:tt)*) => { $crate::command::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::command::output::write(format_args!($($text)*)) };
}

pub(crate) use {out, outln};

/// Writes, and ends the process where nobody reads any more: with success when the reader has gone, since that is how
/// `head` says that it is content, and with failure when the disk is full.
pub fn write(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        process::exit(status_of(&error));
    }
}

fn status_of(error: &io::Error) -> i32 {
    if error.kind() == ErrorKind::BrokenPipe {
        return 0;
    }
    // Standard error may be gone as well.
    let _ = writeln!(io::stderr(), "portcullis: cannot write to standard output: {error}");
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_left_is_no_failure() {
        assert_eq!(status_of(&ErrorKind::BrokenPipe.into()), 0);
        assert_eq!(status_of(&ErrorKind::StorageFull.into()), 1);
    }
}
