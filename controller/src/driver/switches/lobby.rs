//! Where those wait who have not proven yet who they are.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// TLS handshakes at a time. A switch needs some hundredths of a second for one.
pub(super) const ROOM: usize = 256;

/// Has room for so many. When it is full, the oldest of the address that has most in it leaves: so whoever fills it
/// pushes out its own, and a switch, which is quick, is hardly ever the oldest.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// In the order in which they came; dropping the sender sends them away.
    places: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
}

/// A place in the lobby, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    waiting: Arc<Mutex<Waiting>>,
    sent_away: oneshot::Receiver<()>,
}

impl Lobby {
    /// Takes a place; somebody else may lose theirs.
    pub(super) fn enter(&self, address: IpAddr) -> Place {
        let (keep, sent_away) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.places.len() >= ROOM {
            waiting.send_one_away();
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.places.insert(number, (address, keep));
        Place {
            number,
            waiting: self.waiting.clone(),
            sent_away,
        }
    }
}

impl Waiting {
    fn send_one_away(&mut self) {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for (address, _) in self.places.values() {
            *counts.entry(*address).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let oldest = most.and_then(|(most, _)| {
            self.places
                .iter()
                .find(|(_, (address, _))| *address == most)
                .map(|(number, _)| *number)
        });
        if let Some(oldest) = oldest {
            self.places.remove(&oldest);
        }
    }
}

impl Place {
    /// Waits until it is lost.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.sent_away).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        !matches!(
            place.sent_away.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        )
    }

    #[test]
    fn who_fills_the_lobby_pushes_out_its_own() {
        let lobby = Lobby::default();
        let (good, bad) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut switch = lobby.enter(good);
        let mut flood: Vec<_> = (0..3 * ROOM).map(|_| lobby.enter(bad)).collect();
        assert_eq!(lobby.waiting.lock().places.len(), ROOM);
        assert!(!is_lost(&mut switch));
        let mut late = lobby.enter(good);
        assert!(!is_lost(&mut late) && !is_lost(&mut switch));
        let lost = flood
            .iter_mut()
            .filter_map(|place| is_lost(place).then_some(place.number));
        // The oldest of them first.
        assert_eq!(
            lost.max(),
            flood.get(flood.len() - ROOM + 1).map(|place| place.number)
        );
    }

    #[test]
    fn a_place_that_is_left_is_free() {
        let lobby = Lobby::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut first = lobby.enter(address);
        for _ in 0..3 * ROOM {
            drop(lobby.enter(address));
        }
        assert!(!is_lost(&mut first));
        assert_eq!(lobby.waiting.lock().places.len(), 1);
    }
}
