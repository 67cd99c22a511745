//! What goes wrong, and when.

use std::time::Duration;

use telson_core::store::StoreError;

use crate::clients::Who;
use crate::dice::Dice;
use crate::world::Event;
use crate::world::web::{Sends, Visit};

use super::{BUSY, Campaign};

/// Something that befalls the world.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// The process dies after so many more operations, and comes back after a while.
    Crash {
        operations: u64,
        back: Duration,
    },
    /// The operator restarts the gateway.
    Restart {
        back: Duration,
    },
    /// The process begins, if there is none.
    Start,
    /// Nothing can be written any more.
    DiskFails(StoreError),
    /// Everything can be written again.
    DiskHeals,
    /// The wall clock jumps by so many milliseconds.
    ClockJumps(i64),
    /// Somebody's connection is lost.
    Cut {
        silently: bool,
    },
    /// Somebody stops reading, for a while.
    Stall(Duration),
    Resume(Who),
    /// Somebody asks whether the gateway lives.
    Probe,
}

impl Campaign {
    pub(super) fn fates(&mut self, dice: &mut Dice) {
        let mut list = Vec::new();
        for _ in 0..dice.below(3) {
            list.push(Fate::Crash { operations: dice.between(1, 400), back: dice.millis(1, 5_000) });
        }
        if dice.chance(30) {
            list.push(Fate::Restart { back: dice.millis(1_500, 6_000) });
        }
        if dice.chance(30) {
            list.push(Fate::DiskFails(match dice.chance(50) {
                true => StoreError::Full,
                false => StoreError::ReadOnly,
            }));
        }
        // Forward by less than a recorded answer lives, so that a repeat must still be recognised.
        list.push(Fate::ClockJumps(-i64::try_from(dice.between(1, 7_200_000)).unwrap()));
        list.push(Fate::ClockJumps(i64::try_from(dice.between(1, 60_000)).unwrap()));
        for _ in 0..dice.between(1, 5) {
            list.push(Fate::Cut { silently: dice.chance(30) });
            list.push(Fate::Stall(dice.millis(1_000, 40_000)));
            list.push(Fate::Probe);
        }
        for fate in list {
            let latest = u64::try_from(BUSY.as_millis()).unwrap() - 5_000;
            let wait = dice.millis(2_000, latest);
            self.will(wait, fate);
        }
    }

    fn will(&mut self, wait: Duration, fate: Fate) {
        let number = u32::try_from(self.fates.len()).unwrap();
        self.fates.push(fate);
        self.world.after(wait, Event::Fate(number));
    }

    pub(super) fn befall(&mut self, number: u32) {
        let Some(fate) = self.fates.get(usize::try_from(number).unwrap()).cloned() else { return };
        let time = self.world.time;
        self.world.trace.note(time, format!("== {fate:?}"));
        match fate {
            Fate::Crash { operations, back } => {
                self.world.dies_at = Some(self.world.operations + operations);
                self.will(back + Duration::from_secs(3), Fate::Start);
            }
            Fate::Restart { back } => {
                if self.world.is_serving() {
                    self.world.stop("restart");
                }
                self.will(back, Fate::Start);
            }
            Fate::Start => match self.world.is_up() && !self.world.is_serving() {
                // It is still on its way out, or on its way in.
                true => self.will(Duration::from_millis(500), Fate::Start),
                false => self.world.start(),
            },
            Fate::DiskFails(error) => {
                self.world.disk.fault = Some(error);
                let heals = self.world.dice.millis(500, 8_000);
                self.will(heals, Fate::DiskHeals);
            }
            Fate::DiskHeals => self.world.disk.fault = None,
            Fate::ClockJumps(by) => self.world.wall_error += by,
            Fate::Cut { silently } => {
                let who = self.anybody();
                self.world.cut(who, silently);
            }
            Fate::Stall(time) => {
                let who = self.anybody();
                self.world.stall(who, true);
                self.will(time, Fate::Resume(who));
            }
            Fate::Resume(who) => self.world.stall(who, false),
            Fate::Probe => {
                let visit = self.any_visit();
                self.world.visit(visit);
            }
        }
    }

    /// A request of somebody without a token, who may send what he likes and leave when he likes.
    fn any_visit(&mut self) -> Visit {
        let dice = &mut self.world.dice;
        let path = *dice.pick(&["/healthz", "/readyz", "/", "//x", "/startupz", "/v1/models"]);
        let visit = match dice.chance(40) {
            true => Visit::post(path, "x".repeat(usize::try_from(dice.below(5_000)).unwrap())),
            false => Visit::get(path),
        };
        let sends = *dice.pick(&[Sends::Whole, Sends::Stalls, Sends::BreaksOff, Sends::Nonsense]);
        match dice.below(4) {
            steps @ 0..2 => visit.that(sends).leaving_after(u32::try_from(steps).unwrap()),
            2 => visit.that(sends).with_token("a guess"),
            _ => visit.that(sends),
        }
    }

    fn anybody(&mut self) -> Who {
        let people = self.pilots.len() as u64;
        Who(usize::try_from(self.world.dice.below(people)).unwrap())
    }
}
