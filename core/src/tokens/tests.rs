#![allow(clippy::unwrap_used)]

use telson_proto::Scope;

use super::*;

fn at(mono_ms: u64, wall: u64) -> Now {
    Now { mono: Duration::from_millis(mono_ms), wall }
}

fn kept(value: &str, expires_at_ms: Option<u64>) -> Kept {
    Kept {
        name: "bot".to_owned(),
        hash: hash(value),
        scopes: Scopes::from_iter([Scope::Read]),
        created_at_ms: 1_000,
        expires_at_ms,
        last_used_at_ms: None,
    }
}

#[test]
fn a_token_ends_by_whichever_clock_says_so_first() {
    let mut tokens = Tokens::default();
    tokens.add(at(0, 1_000), "a", kept("value", Some(61_000)));
    assert!(tokens.check(at(59_999, 60_999), "value").is_some());
    assert!(tokens.check(at(60_000, 2_000), "value").is_none(), "the wall clock was set back");
    assert!(tokens.check(at(5, 61_000), "value").is_none(), "the wall clock was set forward");
    assert_eq!(tokens.next_deadline(), Some(Duration::from_secs(60)));
    assert_eq!(tokens.expire(at(60_000, 2_000)), ["a"]);
    assert_eq!(tokens.next_deadline(), None);
}

#[test]
fn rows_come_back_as_they_were_written_and_unreadable_ones_give_no_rights() {
    let mut tokens = Tokens::default();
    tokens.add(at(0, 1_000), "a", kept("value", None));
    let Some(Op::PutRecord(row)) = tokens.row("a") else { unreachable!() };
    assert!(!row.record.as_str().contains("value"), "only its hash is kept");
    let odd = Record { shelf: Shelf::ServiceTokens, key: "b".to_owned(), record: Json::of(&["nonsense"]) };
    let mut restored = Tokens::default();
    restored.restore(at(0, 9_000), vec![row, odd]);
    assert_eq!(restored.tokens, tokens.tokens);
    assert!(!restored.is_good(at(0, 9_000), "b"));
}

#[test]
fn the_use_of_a_token_is_noted_once_a_minute() {
    let mut tokens = Tokens::default();
    tokens.add(at(0, 1_000), "a", kept("value", None));
    assert!(tokens.used(at(0, 1_000), "a"));
    assert!(!tokens.used(at(59_999, 60_999), "a"));
    assert!(tokens.used(at(60_000, 61_000), "a"));
    assert!(!tokens.used(at(0, 1_000), "none"));
}
