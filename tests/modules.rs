//! The modules of `src` depend on each other in one direction.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Each folder and file right under `src`, and those of them that its code names.
fn imports() -> Imports {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries: Vec<_> = fs::read_dir(&src).unwrap().map(|entry| entry.unwrap().path()).collect();
    let module = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let modules: BTreeSet<String> =
        entries.iter().map(|path| module(path)).filter(|name| name != "lib").collect();
    let mut imports = Imports::new();
    for path in entries.iter().filter(|path| modules.contains(&module(path))) {
        let named = named_in(path);
        let own = module(path);
        let others = modules.intersection(&named).filter(|other| **other != own).cloned();
        imports.insert(own.clone(), others.collect());
    }
    imports
}

/// What follows `crate::` in the files of that path, tests left out: those may look anywhere.
fn named_in(path: &Path) -> BTreeSet<String> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| named_in(&entry.unwrap().path())).collect();
    }
    let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
    if is_test || path.extension().is_none_or(|extension| extension != "rs") {
        return BTreeSet::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let first_word = |rest: &str| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
    };
    code.split("crate::").skip(1).map(first_word).collect()
}

/// A path that leads back to where it began.
fn circle(imports: &Imports, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let last = path.last()?.clone();
    for next in &imports[&last] {
        if let Some(at) = path.iter().position(|known| known == next) {
            return Some(path[at..].to_vec());
        }
        if !done.contains(next) {
            path.push(next.clone());
            if let Some(circle) = circle(imports, path, done) {
                return Some(circle);
            }
            path.pop();
        }
    }
    done.insert(last);
    None
}

#[test]
fn no_module_depends_on_itself_through_others() {
    let (imports, mut done) = (imports(), BTreeSet::new());
    for module in imports.keys() {
        if let Some(circle) = circle(&imports, &mut vec![module.clone()], &mut done) {
            panic!("these depend on each other in a circle: {}", circle.join(" → "));
        }
    }
}

#[test]
fn the_store_and_the_cache_know_nothing_of_each_other_and_nothing_knows_the_binding() {
    let imports = imports();
    assert!(!imports["store"].contains("cache") && !imports["cache"].contains("store"));
    assert!(imports.values().all(|named| !named.contains("node")));
    assert!(imports["pool"].iter().all(|module| !["cache", "client", "watch"].contains(&module.as_str())));
}
