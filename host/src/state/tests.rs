#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use telson_core::config::{Environment, Failure};

use super::*;

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn state(dir: &Path) -> StateDir {
    StateDir::resolve(Some(dir), &Environment::default()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn holder(state: &StateDir) -> Holder {
    Holder::this(state, 18_789, Path::new("/etc/telson.json"))
}

#[test]
fn the_flag_goes_before_the_environment_and_that_before_the_home_directory() {
    let home = [("HOME", "/home/u"), ("OPENCLAW_STATE_DIR", "/theirs")];
    let at = |flag: Option<&str>, pairs: &[(&str, &str)]| {
        StateDir::resolve(flag.map(Path::new), &env(pairs)).unwrap().path().to_owned()
    };
    assert_eq!(at(None, &home), PathBuf::from("/home/u/.telson"), "the reference's directory is not ours");
    assert_eq!(at(None, &[("HOME", "/home/u"), ("TELSON_STATE_DIR", "~/t")]), PathBuf::from("/home/u/t"));
    assert_eq!(at(Some("/flag"), &[("TELSON_STATE_DIR", "/env")]), PathBuf::from("/flag"));
    assert!(matches!(StateDir::resolve(None, &env(&[])), Err(StateError::Nowhere)));
}

#[test]
fn the_configuration_file_stands_in_the_state_directory_unless_it_is_named() {
    let state = state(Path::new("/s"));
    assert_eq!(state.config_file(None, &env(&[])), PathBuf::from("/s/telson.json"));
    assert_eq!(state.config_file(None, &env(&[("TELSON_CONFIG_PATH", "/c.json")])), PathBuf::from("/c.json"));
    assert_eq!(state.config_file(Some(Path::new("/f.json")), &env(&[])), PathBuf::from("/f.json"));
}

#[test]
fn the_directory_is_made_for_this_user_only() {
    let temp = tempfile::tempdir().unwrap();
    let state = state(&temp.path().join("a/b"));
    state.prepare().unwrap();
    assert_eq!((mode(state.path()), mode(&state.run()), mode(&state.logs())), (0o700, 0o700, 0o700));
    assert_eq!(fs::read_dir(state.run()).unwrap().count(), 0, "the probe is gone");
}

#[test]
fn a_directory_that_others_can_read_is_closed() {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
    state(temp.path()).prepare().unwrap();
    assert_eq!(mode(temp.path()), 0o700);
}

#[test]
fn a_file_in_its_place_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = state(&file).prepare().unwrap_err();
    assert!(matches!(error, StateError::NotADirectory(_)), "{error}");
    let below = state(&file.join("below")).prepare().unwrap_err();
    assert_eq!(below.failure(), Failure::StateBroken, "{below}");
}

#[test]
fn each_reason_of_the_system_has_its_own_failure() {
    let of = |errno: Errno| StateError::io(Path::new("/s"), errno.into()).failure();
    assert_eq!(of(Errno::ROFS), Failure::StateReadOnly);
    assert_eq!(of(Errno::ACCESS), Failure::StateReadOnly);
    assert_eq!(of(Errno::NOSPC), Failure::StateFull);
    assert_eq!(of(Errno::DQUOT), Failure::StateFull);
    assert_eq!(of(Errno::IO), Failure::StateBroken);
}

#[test]
fn a_second_gateway_is_told_who_holds_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let state = state(temp.path());
    state.prepare().unwrap();
    assert_eq!(Lock::holder(&state), None);
    let first = Lock::take(&state, &holder(&state), Duration::ZERO).unwrap();
    assert_eq!(Lock::holder(&state).unwrap().port, 18_789);
    let error = Lock::take(&state, &holder(&state), Duration::ZERO).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.failure(), Failure::LockHeld);
    for part in
        [format!("pid {}", std::process::id()), "port 18789".to_owned(), temp.path().display().to_string()]
    {
        assert!(text.contains(&part), "{text}");
    }
    drop(first);
    assert_eq!(Lock::holder(&state), None, "a lock file alone means nothing");
    Lock::take(&state, &holder(&state), Duration::ZERO).unwrap();
}

#[test]
fn the_token_is_made_once_and_is_readable_for_this_user_only() {
    let temp = tempfile::tempdir().unwrap();
    let state = state(temp.path());
    state.prepare().unwrap();
    assert!(stored_token(&state).unwrap().is_none());
    let token = made_token(&state).unwrap();
    assert_eq!(token.expose().len(), 43, "256 bits");
    let file = state.run().join("gateway.token");
    assert_eq!(mode(&file), 0o600);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert!(made_token(&state).unwrap().matches(token.expose()), "a restart keeps it");
    assert_eq!(mode(&file), 0o600, "and closes it again");
    assert!(stored_token(&state).unwrap().unwrap().matches(token.expose()));
}

#[test]
fn a_token_file_without_a_token_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let state = state(temp.path());
    state.prepare().unwrap();
    fs::write(state.run().join("gateway.token"), " \n").unwrap();
    assert!(stored_token(&state).unwrap().is_none());
    assert_eq!(made_token(&state).unwrap().expose().len(), 43);
}
