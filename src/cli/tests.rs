//! What needs a person in front of a terminal, with a person who is made up.

use crate::admin::Confirmation;
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use super::args::Connection;
use super::progress::Warnings;
use super::signals::Signals;
use super::terminal::{Person, Terminal};
use super::{Context, as_given, run_on};
use crate::error::Code;

/// Answers with what he was told to, and remembers what he was asked.
#[derive(Clone, Default)]
struct Somebody {
    answer: String,
    asked: Arc<Mutex<String>>,
}

impl Person for Somebody {
    fn answer(&mut self, question: &str) -> io::Result<String> {
        self.asked.lock().unwrap().push_str(question);
        Ok(self.answer.clone())
    }

    fn secret(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        self.answer(&format!("(no echo) {question}")).map(Zeroizing::new)
    }
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(person: Option<&Somebody>) -> Terminal {
    Terminal {
        out: Box::new(Paper::default()),
        err: Box::new(Paper::default()),
        input: Box::new("piped\n".as_bytes()),
        person: person.cloned().map(|person| Box::new(person) as Box<dyn Person>),
        shows_out: person.is_some(),
        shows_err: person.is_some(),
        env: |_| None,
        unwritten: None,
    }
}

fn context(terminal: &mut Terminal) -> Context<'_> {
    let connection = Connection {
        url: None,
        ca: None,
        allow_insecure: false,
        config: None,
        timeout_ms: None,
        actor: None,
    };
    let (signals, warnings) = (Signals::default(), Warnings::default());
    Context { terminal, connection, is_json: false, signals, name: "test", warnings }
}

fn app() -> Confirmation {
    Confirmation { database: "app".into(), place: "db:5432".into(), word: "app".into(), is_project: false }
}

fn somebody(answer: &str) -> Somebody {
    Somebody { answer: answer.into(), ..Somebody::default() }
}

#[test]
fn a_person_types_the_databases_name_after_reading_what_will_happen() {
    let person = somebody("app");
    let mut terminal = terminal(Some(&person));
    let answer = context(&mut terminal).confirmation(None, "This drops it.\n", "--yes", &app()).unwrap();
    assert_eq!(answer, "app");
    assert_eq!(*person.asked.lock().unwrap(), "This drops it.\nType the database's name to go on: ");
}

#[test]
fn without_a_person_the_flag_is_asked_for() {
    let mut terminal = terminal(None);
    let refused = context(&mut terminal).confirmation(None, "?", "--yes-drop-plaintext", &app()).unwrap_err();
    assert_eq!(refused.code(), Code::Refused);
    assert!(refused.to_string().contains("--yes-drop-plaintext=app"));
    assert!(refused.to_string().contains("database app on db:5432"));
    let given = context(&mut terminal).confirmation(Some("x".into()), "?", "--yes", &app()).unwrap();
    assert_eq!(given, "x");
}

#[test]
fn a_value_is_asked_for_without_echo_where_there_is_a_person_and_read_from_stdin_otherwise() {
    let person = somebody("typed");
    let mut prompted = terminal(Some(&person));
    assert_eq!(context(&mut prompted).read_value("grok_api_key".parse().unwrap()).unwrap().as_str(), "typed");
    assert_eq!(*person.asked.lock().unwrap(), "(no echo) xAI Grok (grok_api_key), not shown: ");
    let mut piped = terminal(None);
    assert_eq!(context(&mut piped).read_value("grok_api_key".parse().unwrap()).unwrap().as_str(), "piped\n");
}

#[test]
fn an_import_is_agreed_to_in_so_many_words() {
    for (answer, agrees) in [("y", true), ("yes", true), ("", false), ("n", false), ("maybe", false)] {
        let mut terminal = terminal(Some(&somebody(answer)));
        assert_eq!(context(&mut terminal).agree(false).is_ok(), agrees, "{answer}");
    }
    // Stdin is the file: there is nobody left to ask.
    let mut terminal = terminal(Some(&somebody("y")));
    assert_eq!(context(&mut terminal).agree(true).unwrap_err().code(), Code::Refused);
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let person = somebody("");
    let out = Paper::default();
    let mut coloured = Terminal { out: Box::new(out.clone()), ..terminal(Some(&person)) };
    let word = coloured.paint(31, "fail");
    coloured.say(word);
    assert_eq!(out.text(), "\u{1b}[31mfail\u{1b}[0m\n");
    assert_eq!(terminal(None).paint(31, "fail"), "fail");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut terminal = terminal(Some(&person));
        terminal.env = match name {
            "NO_COLOR" => |name| (name == "NO_COLOR").then(|| "1".into()),
            _ => |name| (name == "TERM").then(|| "dumb".into()),
        };
        assert_eq!(terminal.paint(31, "fail"), "fail", "{name}={value}");
    }
}

#[tokio::test]
async fn an_error_goes_to_stderr_and_nothing_to_stdout() {
    let (out, err) = (Paper::default(), Paper::default());
    let mut terminal = Terminal { out: Box::new(out.clone()), err: Box::new(err.clone()), ..terminal(None) };
    let arguments = ["app-secrets", "status"].map(OsString::from).to_vec();
    let exit = run_on(arguments, &mut terminal, Signals::default()).await;
    assert_eq!(exit as i32, 1);
    assert_eq!(out.text(), "");
    assert!(err.text().starts_with("error: no connection for the migration role"));
}

#[tokio::test]
async fn completions_know_every_command() {
    let out = Paper::default();
    let mut terminal = Terminal { out: Box::new(out.clone()), ..terminal(None) };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let arguments = ["app-secrets", "completions", shell].map(OsString::from).to_vec();
        assert_eq!(run_on(arguments, &mut terminal, Signals::default()).await as i32, 0);
        for command in ["migrate", "rollback", "doctor", "import"] {
            assert!(out.text().contains(command), "{shell}: {command}");
        }
        out.0.lock().unwrap().clear();
    }
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_utf8_is_the_process_s_own() {
    use std::os::unix::ffi::OsStringExt;
    let lossy = ["app-secrets", "run", "\u{fffd}"].map(str::to_owned).to_vec();
    let raw = OsString::from_vec(vec![0xff]);
    let given = |last: &OsString| {
        ["node", "bin.js", "run"].map(OsString::from).into_iter().chain([last.clone()]).collect()
    };
    assert_eq!(as_given(lossy.clone(), given(&raw)).last(), Some(&raw));
    // A caller that is not the process's own command line.
    assert_eq!(as_given(lossy, given(&"other".into())).last(), Some(&OsString::from("\u{fffd}")));
}
