//! Text of doctor: a line for what is well, why and how for what is not.

use super::{plural, printable};
use crate::doctor::{Level, Report};

pub(in crate::cli) fn report(report: &Report, paint: impl Fn(Level, &str) -> String) -> String {
    let mut text = Vec::new();
    for check in &report.checks {
        let level = paint(check.level, &format!("{:<4}", check.level.as_str()));
        text.push(format!("{level}  {:<18}  {}", check.id, printable(&check.found)));
        if let Some(fix) = &check.fix {
            text.push(format!("        why  {}", check.why));
            text.push(format!("        fix  {fix}"));
        }
    }
    let number = |level| i64::try_from(report.count(level)).unwrap_or(i64::MAX);
    text.push(String::new());
    text.push(format!(
        "{} ok, {}, {}",
        number(Level::Ok),
        plural(number(Level::Warn), "warning", "warnings"),
        plural(number(Level::Fail), "failure", "failures")
    ));
    text.join("\n")
}
