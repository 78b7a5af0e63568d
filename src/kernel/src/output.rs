//! The one writer of standard output and standard error.
//!
//! A reader that goes away (`| head -1`) ends nothing: what is written afterwards is dropped, the command finishes its work
//! and ends with its own exit code; what repeats itself asks [`is_open`] and ends too. Any other failure (a full disk
//! behind `> file`) is remembered, told once and turned into an exit code by [`finish`], so that no cut-off output ends
//! with 0. The macros of `std` panic in both cases; `tests/architecture.rs` keeps them out.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);
static FAILURE: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Exit code where output was lost to anything but a reader that left: sysexits' EX_IOERR.
pub const OUTPUT_LOST: i32 = 74;

/// Text on standard output, flushed.
pub fn put(text: impl AsRef<[u8]>) {
    let mut out = stdout();
    let _ = out.write_all(text.as_ref());
    let _ = out.flush();
}

/// Text on standard error; nothing can be done where that is closed.
pub fn complain(text: impl AsRef<[u8]>) {
    let _ = std::io::stderr().write_all(text.as_ref());
}

/// Until it is dropped, what is typed on the terminal is not shown; nothing where standard input is none.
pub fn without_echo() -> Option<impl Drop> {
    use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
    struct Shown(Termios);
    impl Drop for Shown {
        fn drop(&mut self) {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
        }
    }
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(std::io::stdin(), SetArg::TCSANOW, &hidden).ok()?;
    Some(Shown(before))
}

/// What a parser of arguments has to say: help on standard output, a mistake on standard error; styled on a terminal.
pub fn say(styled: impl Display, plain: impl Display, mistake: bool) {
    let text = |terminal: bool| if terminal { styled.to_string() } else { plain.to_string() };
    match mistake {
        true => complain(text(std::io::stderr().is_terminal())),
        false => put(text(std::io::stdout().is_terminal())),
    }
}

/// False once the reader of standard output has gone.
pub fn is_open() -> bool {
    !CLOSED.load(Ordering::Relaxed)
}

/// The exit code of a command that would end with `code`, after a last look at what became of its output.
pub fn finish(code: i32) -> i32 {
    put("");
    let lost = FAILURE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    match lost {
        Some(error) => {
            complain(format!("cannot write to standard output: {error}\n"));
            if code == 0 { OUTPUT_LOST } else { code }
        }
        None => code,
    }
}

/// Standard output for code that writes to any `Write`: its errors end here.
pub fn stdout() -> Stdout {
    Stdout(())
}

/// See [`stdout`].
pub struct Stdout(());

impl Write for Stdout {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.write_all(buffer).map(|()| buffer.len())
    }

    fn write_all(&mut self, buffer: &[u8]) -> std::io::Result<()> {
        if is_open() {
            keep(std::io::stdout().lock().write_all(buffer));
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if is_open() {
            keep(std::io::stdout().lock().flush());
        }
        Ok(())
    }
}

fn keep(result: std::io::Result<()>) {
    let Err(error) = result else { return };
    CLOSED.store(true, Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe {
        FAILURE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
    }
}

/// A line on standard output.
#[macro_export]
macro_rules! outln {
    ($($words:tt)*) => { $crate::output::put(::std::format!("{}\n", ::std::format_args!($($words)*))) };
}

/// A line on standard error.
#[macro_export]
macro_rules! errln {
    ($($words:tt)*) => { $crate::output::complain(::std::format!("{}\n", ::std::format_args!($($words)*))) };
}
