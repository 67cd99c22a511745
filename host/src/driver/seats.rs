//! Who may hold an HTTP connection, upgraded ones not counted (spec 08 S-36).
//!
//! There are so many seats. When all are taken, whoever comes gets that of a connection at which nothing is being
//! answered: the oldest such one of the address that holds the most. So a crowd of silent connections pushes out its
//! own, and a client that has something to say is let in beside it. When something is being answered everywhere, an
//! address that holds many seats gives its oldest to one that holds few: a crowd of slow requests, too, pushes out its
//! own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender};

/// HTTP connections that may be open at once. One more than can be seated is dropped.
const SEATS: usize = 512;

/// An address holds few seats beside another that holds so many times as many.
const FEW: usize = 4;

/// All seats.
#[derive(Default)]
pub(super) struct Seats(Arc<Mutex<Table>>);

/// A connection's seat, given back when dropped.
pub(super) struct Seat {
    table: Arc<Mutex<Table>>,
    number: u64,
    cut: Sender<()>,
}

/// A seat, and what ends its connection when it has to make room.
pub(super) type Place = (Seat, Receiver<()>);

#[derive(Default)]
struct Table {
    next: u64,
    /// By number: the oldest first.
    taken: BTreeMap<u64, Taken>,
    /// How many each address holds.
    held: BTreeMap<IpAddr, usize>,
}

struct Taken {
    addr: IpAddr,
    /// Something is being answered.
    kept: bool,
    /// Ends the connection at once.
    cut: Sender<()>,
}

impl Seats {
    /// A seat for a client of this address, and what ends its connection when it has to make room. `None` when every
    /// seat is in use.
    pub(super) fn take(&self, addr: IpAddr) -> Option<Place> {
        let addr = network(addr);
        let mut table = lock(&self.0);
        if table.taken.len() >= SEATS {
            let number = table.least_missed().or_else(|| table.of_a_crowd(addr))?;
            table.leave(number);
        }
        let (cut, cuts) = async_channel::bounded(1);
        let number = table.next;
        table.next += 1;
        table.taken.insert(number, Taken { addr, kept: false, cut: cut.clone() });
        *table.held.entry(addr).or_default() += 1;
        Some((Seat { table: Arc::clone(&self.0), number, cut }, cuts))
    }
}

impl Seat {
    /// What ends the connection at once.
    pub(super) fn cut(&self) -> Sender<()> {
        self.cut.clone()
    }

    /// Whether the seat must not be given to somebody else just now.
    pub(super) fn keep(&self, kept: bool) {
        if let Some(taken) = lock(&self.table).taken.get_mut(&self.number) {
            taken.kept = kept;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.table).leave(self.number);
    }
}

impl Table {
    /// The connection that makes room: of the fullest address that can give a seat, the oldest.
    fn least_missed(&self) -> Option<u64> {
        let free = self.taken.iter().filter(|(_, taken)| !taken.kept);
        let crowd = |taken: &Taken| self.held.get(&taken.addr).copied().unwrap_or(0);
        free.max_by_key(|(number, taken)| (crowd(taken), std::cmp::Reverse(**number)))
            .map(|(number, _)| *number)
    }

    /// The oldest connection of the fullest address, when this one holds few beside it.
    fn of_a_crowd(&self, newcomer: IpAddr) -> Option<u64> {
        let (fullest, most) = self.held.iter().max_by_key(|(_, held)| **held)?;
        let own = self.held.get(&newcomer).copied().unwrap_or(0) + 1;
        let has_few = own.saturating_mul(FEW) <= *most;
        let oldest = || self.taken.iter().find(|(_, taken)| taken.addr == *fullest);
        has_few.then(oldest).flatten().map(|(number, _)| *number)
    }

    fn leave(&mut self, number: u64) {
        let Some(taken) = self.taken.remove(&number) else { return };
        // It may have ended by itself meanwhile; then nobody listens.
        let _ = taken.cut.try_send(());
        if let Some(held) = self.held.get_mut(&taken.addr) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&taken.addr);
            }
        }
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_crowd_pushes_out_its_own() {
        let seats = Seats::default();
        let (_visitor, visitor_out) = seats.take(addr(1)).unwrap();
        let crowd: Vec<_> = (1..SEATS).map(|_| seats.take(addr(2)).unwrap()).collect();
        let (_late, _) = seats.take(addr(3)).unwrap();
        let (_more, _) = seats.take(addr(2)).unwrap();
        let gone: Vec<bool> = crowd.iter().map(|(_, out)| out.try_recv().is_ok()).collect();
        assert!(gone[0] && gone[1] && !gone[2], "the two oldest of the crowd made room");
        assert!(visitor_out.try_recv().is_err(), "who came alone stays");
    }

    #[test]
    fn a_connection_that_is_being_answered_keeps_its_seat() {
        let seats = Seats::default();
        let crowd: Vec<_> = (0..SEATS).map(|_| seats.take(addr(2)).unwrap()).collect();
        crowd.iter().for_each(|(seat, _)| seat.keep(true));
        assert!(seats.take(addr(2)).is_none(), "everybody is being served");
        crowd[7].0.keep(false);
        assert!(seats.take(addr(2)).is_some());
        assert!(crowd[7].1.try_recv().is_ok());
    }

    #[test]
    fn a_crowd_that_is_being_answered_makes_room_for_others() {
        let seats = Seats::default();
        let crowds: Vec<_> = (0..SEATS).map(|n| seats.take(addr(u8::from(n % 2 == 0))).unwrap()).collect();
        crowds.iter().for_each(|(seat, _)| seat.keep(true));
        let served = |place: &Place| place.0.keep(true);
        let few: Vec<_> = (0..SEATS / 2).map_while(|_| seats.take(addr(7)).inspect(served)).collect();
        assert!(few.len() > SEATS / 16 && few.len() < SEATS / 4, "{}", few.len());
        assert!(few.iter().all(|(_, out)| out.try_recv().is_err()), "nobody pushes out their own");
    }

    #[test]
    fn a_seat_that_is_left_is_free() {
        let seats = Seats::default();
        for _ in 0..3 * SEATS {
            let (seat, _) = seats.take(addr(1)).unwrap();
            seat.keep(true);
        }
        assert!(lock(&seats.0).held.is_empty());
    }

    #[test]
    fn a_holder_of_a_network_is_one() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::2:3".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), addr(1));
    }
}
