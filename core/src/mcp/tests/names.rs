//! The names of tools.

use proptest::prelude::*;

use super::super::names::assign;

fn names(tools: &[(&str, &str)]) -> Vec<String> {
    assign(tools.iter().enumerate().map(|(at, (server, tool))| (*server, *tool, at))).into_keys().collect()
}

#[test]
fn names_are_of_the_letters_that_providers_take() {
    assert_eq!(names(&[("my files", "read.file/v2")]), ["my-files__read-file-v2"]);
    assert_eq!(names(&[("a", "x y"), ("a", "x-y"), ("a", "x.y")]), ["a__x-y", "a__x-y-2", "a__x-y-3"]);
}

proptest! {
    #[test]
    fn every_tool_has_a_name_of_its_own(tools in prop::collection::vec(("\\PC{1,70}", "\\PC{1,90}"), 1..40)) {
        let all = assign(tools.iter().enumerate().map(|(at, (s, t))| (s.as_str(), t.as_str(), at)));
        prop_assert_eq!(all.len(), tools.len());
        for name in all.keys() {
            prop_assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        }
    }
}
