use std::time::Duration;

use super::*;

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: seconds * 1_000 }
}

#[test]
fn periodic_work_is_done_once_after_a_long_sleep() {
    let mut system = System::new(at(0));
    system.start(at(0));
    assert_eq!(system.next_deadline(), Some(Duration::from_secs(30)));
    assert_eq!(system.due(at(29)), Due::default());
    assert_eq!(system.due(at(30)), Due { tick: true, ..Due::default() });
    assert_eq!(system.due(at(500)), Due { tick: true, health: true, sweep: true });
    assert_eq!(system.due(at(500)), Due::default());
}

#[test]
fn system_events_are_few_and_not_repeated() {
    let mut system = System::new(at(0));
    let key = SessionKey::new("agent:main:main");
    for n in 0..25 {
        system.enqueue(key.clone(), &format!("event {n}"));
        system.enqueue(key.clone(), &format!("event {n}"));
    }
    system.enqueue(key.clone(), "   ");
    let events = system.take_events(&key);
    assert_eq!((events.len(), events[0].as_str()), (20, "event 5"));
    assert!(system.take_events(&key).is_empty());
}

#[test]
fn a_health_summary_ages() {
    let mut system = System::new(at(0));
    assert!(system.fresh_health(at(0)).is_none());
    system.refreshed(at(0), Json::empty());
    assert!(system.fresh_health(at(59)).is_some());
    assert!(system.fresh_health(at(60)).is_none());
    assert_eq!(system.health_version(), 2);
}
