//! The pre-flight of 002, judged: whether the shape of the database can be served, and what of the app's it touches.

use super::{Report, Verdict};
use crate::error::Error;
use crate::queries::Answer;
use crate::queries::preflight::{Obstacle, Preflight};

const WHY: &str = "002 refuses shapes that it could not serve, before it changes anything.";

/// One check for each obstacle, and one for none. Says whether one of them refuses.
pub(super) fn preflight(report: &mut Report, found: Answer<Preflight>) -> bool {
    let found = match found {
        Ok(found) => found,
        Err(fault) => {
            report.add("preflight", WHY, Err(Error::from(fault)));
            return true;
        }
    };
    let told: &[Obstacle] = &found.obstacles;
    for obstacle in told {
        let fix = obstacle.fix.clone().unwrap_or_else(|| obstacle.needed.clone());
        let verdict = match obstacle.severity.as_str() {
            // What is served, and worth knowing: a restrictive policy that stays, for one.
            "note" => Verdict::ok(obstacle.sentence()),
            "warn" => Verdict::warn(obstacle.sentence(), fix),
            _ => Verdict::fail(obstacle.sentence(), fix),
        };
        report.add("preflight", WHY, Ok(verdict));
    }
    if told.is_empty() {
        report.add("preflight", WHY, Ok(Verdict::ok("the tables can be served as they are")));
    }
    told.iter().any(Obstacle::is_refusal)
}
