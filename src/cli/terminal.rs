//! The streams and the person in front of them. Everything that is read or written goes through here.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::time::Duration;

use zeroize::Zeroizing;

/// Answers questions.
pub(crate) trait Person: Send {
    /// Asks for a line that everybody may see.
    fn answer(&mut self, question: &str) -> io::Result<String>;
    /// Asks for a line that nobody sees.
    fn secret(&mut self, question: &str) -> io::Result<Zeroizing<String>>;
}

/// Where a command reads and writes.
pub(crate) struct Terminal {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
    pub(crate) input: Box<dyn Read + Send>,
    /// Somebody can be asked.
    pub(crate) person: Option<Box<dyn Person>>,
    pub(crate) shows_out: bool,
    pub(crate) shows_err: bool,
    pub(crate) env: fn(&str) -> Option<String>,
}

impl Terminal {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        let is_asked = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self {
            out: Box::new(Patient(io::stdout())),
            err: Box::new(Patient(io::stderr())),
            input: Box::new(io::stdin()),
            person: is_asked.then(|| Box::new(Keyboard) as Box<dyn Person>),
            shows_out: io::stdout().is_terminal(),
            shows_err: io::stderr().is_terminal(),
            env: |name| std::env::var(name).ok(),
        }
    }

    /// Writes a line of the result.
    pub(crate) fn say(&mut self, line: impl fmt::Display) {
        // Whoever closed the pipe has seen enough.
        let _ = writeln!(self.out, "{line}");
    }

    /// Writes a line about how it goes.
    pub(crate) fn note(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    pub(crate) fn is_coloured(&self) -> bool {
        self.shows_out
            && (self.env)("NO_COLOR").is_none_or(|value| value.is_empty())
            && (self.env)("TERM").is_none_or(|term| term != "dumb")
    }

    /// Colours a word of the result, where colours are wanted. `code` is one of ECMA-48's.
    pub(crate) fn paint(&self, code: u8, text: &str) -> String {
        if self.is_coloured() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

struct Keyboard;

impl Person for Keyboard {
    fn answer(&mut self, question: &str) -> io::Result<String> {
        let mut err = io::stderr();
        write!(err, "{question}")?;
        err.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn secret(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        rpassword::prompt_password(question).map(Zeroizing::new)
    }
}

/// Node.js may have made a pipe of this process non-blocking: then wait rather than lose what is to be said.
struct Patient<W>(W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                outcome => return outcome,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.0.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                outcome => return outcome,
            }
        }
    }
}
