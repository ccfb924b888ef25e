//! What `index.d.ts` says is what the core does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use app_secrets::Code;

const DECLARATIONS: &str = include_str!("../index.d.ts");

#[test]
fn the_error_codes_are_those_that_errors_carry() {
    let (_, rest) = DECLARATIONS.split_once("export type ErrorCode =").unwrap();
    let (members, _) = rest.split_once("\n\n").unwrap();
    let declared: BTreeSet<&str> = members.split('\'').skip(1).step_by(2).collect();
    assert_eq!(declared, Code::ALL.iter().map(|code| code.as_str()).collect());
}
