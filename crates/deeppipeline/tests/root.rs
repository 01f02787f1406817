//! The root of the crate is small: what most programs need, and modules for the rest.

/// The names that begin a line of `lib.rs` with `pub`, but for hidden modules.
fn names() -> Vec<String> {
    let source = include_str!("../src/lib.rs");
    let mut names = Vec::new();
    let (mut before, mut list) = ("", String::new());
    for line in source.lines() {
        if let Some(module) = line.strip_prefix("pub mod ").filter(|_| before != "#[doc(hidden)]") {
            names.push(module.trim_end_matches([';', '{', ' ']).to_owned());
        }
        if line.starts_with("pub use ") || !list.is_empty() {
            list.push_str(line);
        }
        if list.ends_with(';') {
            let (_, last) = list.trim_end_matches(';').rsplit_once("::").expect("a path");
            let last = last.trim_matches(['{', '}']).split(',').map(|name| name.trim().to_owned());
            names.extend(last.filter(|name| !name.is_empty()));
            list.clear();
        }
        before = line;
    }
    names
}

#[test]
fn the_root_has_thirty_names_at_most() {
    let names = names();
    assert!(["Pipeline", "stage", "intake", "processes"].iter().all(|name| names.iter().any(|known| known == name)));
    assert!(names.len() <= 30, "{} names: {names:?}", names.len());
}
