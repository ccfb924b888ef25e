//! What `index.d.ts` says is what the core does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use app_secrets::{Code, SecretName};

const DECLARATIONS: &str = include_str!("../index.d.ts");

fn union(name: &str) -> BTreeSet<&'static str> {
    let declaration = format!("export type {name} = ");
    let (_, rest) = DECLARATIONS.split_once(&declaration).unwrap();
    let (members, _) = rest.split_once('\n').unwrap();
    members.split(" | ").map(|member| member.trim_matches('\'')).collect()
}

#[test]
fn the_names_of_secrets_are_those_of_the_catalogue() {
    assert_eq!(union("SecretName"), SecretName::ALL.into_iter().map(SecretName::as_str).collect());
}

#[test]
fn the_error_codes_are_those_that_errors_carry() {
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(union("ErrorCode"), all);
}

#[test]
fn every_provider_that_is_declared_is_known() {
    for provider in union("Provider") {
        assert!(provider.parse::<app_secrets::Provider>().is_ok(), "{provider}");
    }
}
