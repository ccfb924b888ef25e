//! The streams and the person in front of them. Everything that is read or written goes through here.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::time::Duration;

use zeroize::Zeroizing;

use super::exit::Exit;
use super::show::layout;
use super::{echo, escape, signals};

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
    /// Why the result could not be written, the first time that happened.
    pub(crate) unwritten: Option<io::Error>,
}

/// No table is made narrower than this, nor asked to be.
const NARROWEST: usize = 40;

impl Terminal {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        let is_asked = io::stdin().is_terminal();
        Self {
            out: Box::new(Examined(io::stdout())),
            err: Box::new(Examined(io::stderr())),
            input: Box::new(io::stdin()),
            person: is_asked.then(|| Box::new(Keyboard) as Box<dyn Person>),
            shows_out: io::stdout().is_terminal(),
            shows_err: io::stderr().is_terminal(),
            env: |name| std::env::var(name).ok(),
            unwritten: None,
        }
    }

    /// Writes a line of the result, without anything that a terminal would obey.
    pub(crate) fn say(&mut self, line: impl fmt::Display) {
        let line = layout::fitted(&line.to_string(), self.width());
        let line = escape::for_terminal(&line, self.is_coloured());
        self.write(format!("{line}\n").as_bytes());
    }

    /// Writes bytes of the result as they are. A failure is remembered, and decides the exit code.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.unwritten.get_or_insert(error);
        }
    }

    /// Shows a value to a person.
    pub(crate) fn reveal(&mut self, value: &str) {
        let lines: Vec<&str> = value.split('\n').collect();
        if !lines.iter().all(|line| escape::is_printable(line)) {
            self.note(
                "note: the value has characters that a terminal would obey, shown as \u{fffd}; a pipe gets it as it is",
            );
        }
        let shown = Zeroizing::new(escape::for_terminal(value, false));
        self.write(shown.as_bytes());
        self.write(b"\n");
    }

    /// Why the result could not be written. Whoever closed the pipe has seen enough, and is no reason.
    pub(crate) fn failure(&mut self) -> Option<io::Error> {
        self.unwritten.take().filter(|error| error.kind() != ErrorKind::BrokenPipe)
    }

    /// Writes a line about how it goes.
    pub(crate) fn note(&mut self, line: impl fmt::Display) {
        // There is nowhere left to say that it failed.
        let _ = writeln!(self.err, "{}", escape::for_terminal(&line.to_string(), false));
    }

    /// The columns that there are for the result; `None` where it goes to a file or a program.
    pub(crate) fn width(&self) -> Option<usize> {
        let told = (self.env)("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = told.or_else(|| if self.shows_out { asked() } else { None })?;
        Some(width.max(NARROWEST))
    }

    pub(crate) fn is_coloured(&self) -> bool {
        self.shows_out
            && (self.env)("NO_COLOR").is_none_or(|value| value.is_empty())
            && (self.env)("TERM").is_none_or(|term| term != "dumb")
    }

    /// Colours a word of the result, where colours are wanted. `code` is one of ECMA-48's.
    pub(crate) fn paint(&self, code: u8, text: &str) -> String {
        if self.is_coloured() { escape::coloured(code, text) } else { text.to_owned() }
    }
}

struct Keyboard;

impl Person for Keyboard {
    fn answer(&mut self, question: &str) -> io::Result<String> {
        let mut screen = screen()?;
        write!(screen, "{}", escape::for_terminal(question, false))?;
        screen.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn secret(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        let asked = echo::silenced(|| rpassword::prompt_password(escape::for_terminal(question, false)));
        match asked {
            // Ctrl-C is a character to what asks, which then sends the signal itself: the two must not race.
            Err(error) if error.kind() == ErrorKind::Interrupted => signals::leave(Exit::Stopped),
            answer => answer.map(Zeroizing::new),
        }
    }
}

/// What the person looks at, wherever stderr goes.
fn screen() -> io::Result<Box<dyn Write>> {
    let stderr = io::stderr();
    if stderr.is_terminal() {
        return Ok(Box::new(stderr));
    }
    let terminal = if cfg!(windows) { "CONOUT$" } else { "/dev/tty" };
    Ok(Box::new(File::options().write(true).open(terminal)?))
}

/// Node.js may have made a pipe of this process non-blocking: then wait rather than lose what is to be said.
struct Examined<W>(W);

impl<W: Write> Write for Examined<W> {
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
