//! Which hosts are where: stations (MAC addresses) and the IP addresses they speak for.
//!
//! Learned from what hosts send. What is known does not move on a mere claim: the claimant is blocked for
//! a while, and the owner is asked at its own port. Only if that port is down, or the owner does not
//! answer although its switch does, has the host moved.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use payflow_qos::{PortRef, SwitchId, Time};

use super::{
    ApiPort, Host, MacAddr, NetworkConfig,
    frames::{Sender, presence_probe},
    pipeline::Claimed,
};

/// How often the owner of a claimed address is asked within the time it has.
const PROBES: u32 = 4;
/// Claims from one port looked into at once; more are not believed and not looked into.
const CLAIMS_PER_PORT: usize = 64;

/// The hosts behind edge ports.
pub(crate) struct Hosts {
    api: Option<ApiPort>,
    per_port: usize,
    owner_answer: Duration,
    quarantine: Duration,
    stations: BTreeMap<MacAddr, PortRef>,
    addresses: BTreeMap<IpAddr, Host>,
    claims: BTreeMap<Claimed, Claim>,
    quarantines: BTreeMap<(PortRef, Claimed), Time>,
    stations_at: Census,
    addresses_at: Census,
}

/// How many names are at every port, so that nobody has to count them for every frame.
#[derive(Default)]
struct Census(BTreeMap<PortRef, usize>);

impl Census {
    fn at(&self, port: PortRef) -> usize {
        self.0.get(&port).copied().unwrap_or_default()
    }

    /// A name is at `to` now, and was at `from` if it was known.
    fn moved(&mut self, from: Option<PortRef>, to: PortRef) {
        if let Some(count) = from.and_then(|from| self.0.get_mut(&from)) {
            *count = count.saturating_sub(1);
        }
        *self.0.entry(to).or_default() += 1;
    }
}

/// Somebody sends under a name that belongs elsewhere.
#[derive(Clone, Debug)]
struct Claim {
    claimant: PortRef,
    sender: Sender,
    owner: PortRef,
    asked_at: Time,
    next_probe: Time,
    answer_by: Time,
}

/// What is known of the port where the owner of a claimed name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The owner can be asked.
    Up,
    /// Nobody is there.
    Down,
    /// Its switch is away for the moment: nobody can be asked, and nothing moves.
    Unknown,
}

/// What follows from a frame or from time passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A new station.
    Station(MacAddr),
    /// A new address of a station that has not moved.
    Address(Host),
    /// A station or address is somewhere else than before.
    Moved(Vec<Host>),
    /// Block this name at this port until then.
    Quarantine(PortRef, Claimed, Time),
    /// The block is over.
    Released(PortRef, Claimed),
    /// Send this frame out of this port.
    Ask(PortRef, Vec<u8>),
    /// The port has all the senders it may have.
    Full(PortRef),
}

impl Hosts {
    pub(crate) fn new(config: &NetworkConfig) -> Self {
        Self {
            api: config.api,
            per_port: config.hosts_per_port,
            owner_answer: config.timings.owner_answer,
            quarantine: config.timings.quarantine,
            stations: BTreeMap::new(),
            addresses: BTreeMap::new(),
            claims: BTreeMap::new(),
            quarantines: BTreeMap::new(),
            stations_at: Census::default(),
            addresses_at: Census::default(),
        }
    }

    pub(crate) fn get(&self, address: IpAddr) -> Option<&Host> {
        self.addresses.get(&address)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Host> {
        self.addresses.values()
    }

    /// The port of a station.
    pub(crate) fn station(&self, mac: MacAddr) -> Option<PortRef> {
        self.stations.get(&mac).copied()
    }

    /// Every known station and its port.
    pub(crate) fn stations(&self) -> impl Iterator<Item = (MacAddr, PortRef)> {
        self.stations.iter().map(|(mac, port)| (*mac, *port))
    }

    /// Blocks in force.
    pub(crate) fn quarantines(&self) -> impl Iterator<Item = (PortRef, Claimed, Time)> {
        self.quarantines
            .iter()
            .map(|((port, claimed), until)| (*port, *claimed, *until))
    }

    /// Whether no more stations or no more addresses are learned at this port.
    pub(crate) fn is_full(&self, port: PortRef) -> bool {
        self.stations_at.at(port) >= self.per_port || self.addresses_at.at(port) >= self.per_port
    }

    /// A host sent a frame into an edge port. `presence` tells about the port of an owner.
    pub(crate) fn heard(
        &mut self,
        port: PortRef,
        sender: Sender,
        presence: impl Fn(PortRef) -> Presence,
        now: Time,
    ) -> Vec<News> {
        let mut news = Vec::new();
        if self.is_api(sender) {
            return news;
        }
        let was_full = self.is_full(port);
        self.answered(port, sender);
        if !self.station_heard(port, sender, &presence, now, &mut news) {
            return news;
        }
        if let Some(address) = sender.address {
            self.address_heard(port, sender, address, &presence, now, &mut news);
        }
        if !was_full && self.is_full(port) {
            news.push(News::Full(port));
        }
        news
    }

    /// Whether a frame from this port goes on that tells others where its sender is. Not under a name that is known
    /// elsewhere; a name that is known nowhere is nobody's, also where no more are learned.
    pub(crate) fn may_speak(&self, port: PortRef, sender: Sender) -> bool {
        let station = self.stations.get(&sender.mac);
        let host = sender
            .address
            .and_then(|address| self.addresses.get(&address));
        !self.is_api(sender)
            && station.is_none_or(|at| *at == port)
            && host.is_none_or(|host| (host.port, host.mac) == (port, sender.mac))
    }

    /// What was known before a restart, or before the switch was away, read back from a switch.
    ///
    /// Such entries are ours alone, so they beat whoever took the name while the owner could not be asked: it goes
    /// back, and who had it meanwhile is a claimant, until the owner does not answer. Where the port is down
    /// nobody could answer, and nothing goes back.
    pub(crate) fn remember(
        &mut self,
        port: PortRef,
        up: bool,
        mac: MacAddr,
        address: Option<IpAddr>,
        now: Time,
    ) -> Vec<News> {
        let sender = Sender { mac, address };
        if !mac.is_station() || self.is_api(sender) {
            return Vec::new();
        }
        let station = self.stations.get(&mac).filter(|at| **at != port);
        let station = station.map(|at| {
            let name = Sender { mac, address: None };
            (*at, name, Claimed::Station(mac))
        });
        let host = address.and_then(|address| self.addresses.get(&address));
        let host = host.filter(|host| host.mac != mac).map(|host| {
            let name = Sender {
                mac: host.mac,
                address,
            };
            (host.port, name, Claimed::Address(host.address))
        });
        let rivals: Vec<_> = station.into_iter().chain(host).collect();
        if rivals.is_empty() {
            return self.heard(port, sender, |_| Presence::Unknown, now);
        }
        if !up {
            return Vec::new();
        }
        let mut news = vec![News::Moved(self.move_to(port, sender, now))];
        for (claimant, name, claimed) in rivals {
            // The owner was a claimant at its own port until now.
            self.claims.remove(&claimed);
            if self.quarantines.remove(&(port, claimed)).is_some() {
                news.push(News::Released(port, claimed));
            }
            news.extend(self.contest(claimant, name, claimed, port, Presence::Up, now));
        }
        news
    }

    /// The port is no edge port any more: nobody is behind it.
    pub(crate) fn forget_port(&mut self, port: PortRef) -> bool {
        let before = self.stations.len() + self.addresses.len();
        self.stations.retain(|_, at| *at != port);
        self.addresses.retain(|_, host| host.port != port);
        self.stations_at.0.remove(&port);
        self.addresses_at.0.remove(&port);
        self.claims
            .retain(|_, claim| claim.claimant != port && claim.owner != port);
        before != self.stations.len() + self.addresses.len()
    }

    /// Time has passed: owners are asked again, or have moved; blocks end. `heard` tells when a switch was heard last. As long
    /// as the owner's own is silent, nobody knows whether the owner would answer.
    pub(crate) fn tick(
        &mut self,
        heard: impl Fn(SwitchId) -> Option<Time>,
        now: Time,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let over: Vec<_> = self
            .quarantines
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| *key)
            .collect();
        for (port, claimed) in over {
            self.quarantines.remove(&(port, claimed));
            news.push(News::Released(port, claimed));
        }
        let unanswered: Vec<_> = self
            .claims
            .iter()
            .filter(|(_, claim)| claim.answer_by <= now)
            .map(|(claimed, _)| *claimed)
            .collect();
        for claimed in unanswered {
            let Some(claim) = self.claims.get_mut(&claimed) else {
                continue;
            };
            if heard(claim.owner.switch).is_none_or(|at| at < claim.asked_at) {
                claim.asked_at = now;
                claim.answer_by = now.plus(self.owner_answer);
                continue;
            }
            if let Some(claim) = self.claims.remove(&claimed) {
                if self
                    .quarantines
                    .remove(&(claim.claimant, claimed))
                    .is_some()
                {
                    news.push(News::Released(claim.claimant, claimed));
                }
                news.push(News::Moved(self.move_to(claim.claimant, claim.sender, now)));
            }
        }
        let interval = self.owner_answer / PROBES;
        let asked: Vec<Claimed> = self
            .claims
            .iter()
            .filter(|(_, claim)| claim.next_probe <= now)
            .map(|(claimed, _)| *claimed)
            .collect();
        for claimed in asked {
            news.extend(self.probes(claimed));
            if let Some(claim) = self.claims.get_mut(&claimed) {
                claim.next_probe = now.plus(interval);
            }
        }
        news
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let claims = self
            .claims
            .values()
            .map(|claim| claim.next_probe.min(claim.answer_by));
        claims.chain(self.quarantines.values().copied()).min()
    }

    fn is_api(&self, sender: Sender) -> bool {
        self.api
            .is_some_and(|api| sender.mac == api.mac || sender.address == Some(api.address))
    }

    /// A frame from where the owner of a claimed name is: the claim was wrong.
    fn answered(&mut self, port: PortRef, sender: Sender) {
        let (stations, addresses) = (&self.stations, &self.addresses);
        self.claims.retain(|claimed, claim| {
            let by_owner = claim.owner == port
                && match claimed {
                    Claimed::Station(mac) => sender.mac == *mac && stations.get(mac) == Some(&port),
                    Claimed::Address(address) => {
                        sender.address == Some(*address)
                            && addresses
                                .get(address)
                                .is_some_and(|host| host.mac == sender.mac)
                    }
                };
            !by_owner
        });
    }

    /// Whether the station may speak at this port.
    fn station_heard(
        &mut self,
        port: PortRef,
        sender: Sender,
        presence: &impl Fn(PortRef) -> Presence,
        now: Time,
        news: &mut Vec<News>,
    ) -> bool {
        match self.stations.get(&sender.mac).copied() {
            Some(at) if at == port => true,
            Some(owner) if presence(owner) == Presence::Down => {
                news.push(News::Moved(self.move_to(
                    port,
                    Sender {
                        address: None,
                        ..sender
                    },
                    now,
                )));
                true
            }
            Some(owner) => {
                news.extend(self.contest(
                    port,
                    sender,
                    Claimed::Station(sender.mac),
                    owner,
                    presence(owner),
                    now,
                ));
                false
            }
            None if self.stations_at.at(port) >= self.per_port => false,
            None => {
                self.stations.insert(sender.mac, port);
                self.stations_at.moved(None, port);
                news.push(News::Station(sender.mac));
                true
            }
        }
    }

    fn address_heard(
        &mut self,
        port: PortRef,
        sender: Sender,
        address: IpAddr,
        presence: &impl Fn(PortRef) -> Presence,
        now: Time,
        news: &mut Vec<News>,
    ) {
        match self
            .addresses
            .get(&address)
            .map(|host| (host.port, host.mac))
        {
            Some(known) if known == (port, sender.mac) => {}
            Some((owner, _)) if presence(owner) == Presence::Down => {
                news.push(News::Moved(self.move_to(port, sender, now)));
            }
            Some((owner, _)) => {
                news.extend(self.contest(
                    port,
                    sender,
                    Claimed::Address(address),
                    owner,
                    presence(owner),
                    now,
                ));
            }
            None if self.addresses_at.at(port) >= self.per_port => {}
            None => {
                let host = Host {
                    address,
                    mac: sender.mac,
                    port,
                    since: now,
                };
                self.addresses.insert(address, host.clone());
                self.addresses_at.moved(None, port);
                news.push(News::Address(host));
            }
        }
    }

    /// Blocks the claimant and, if the owner can be asked, asks it.
    fn contest(
        &mut self,
        claimant: PortRef,
        sender: Sender,
        claimed: Claimed,
        owner: PortRef,
        presence: Presence,
        now: Time,
    ) -> Vec<News> {
        let under_way = self.claims.contains_key(&claimed)
            || self.quarantines.contains_key(&(claimant, claimed));
        let many = self
            .quarantines
            .keys()
            .filter(|(port, _)| *port == claimant)
            .count()
            >= CLAIMS_PER_PORT;
        if under_way || many {
            return Vec::new();
        }
        // A block at the owner's own port would block the owner as well.
        let mut news = Vec::new();
        if claimant != owner {
            let until = now.plus(self.quarantine);
            self.quarantines.insert((claimant, claimed), until);
            news.push(News::Quarantine(claimant, claimed, until));
        }
        if presence == Presence::Up {
            let next_probe = now.plus(self.owner_answer / PROBES);
            let answer_by = now.plus(self.owner_answer);
            self.claims.insert(
                claimed,
                Claim {
                    claimant,
                    sender,
                    owner,
                    asked_at: now,
                    next_probe,
                    answer_by,
                },
            );
            news.extend(self.probes(claimed));
        }
        news
    }

    /// Questions to the owner of a claimed name, at its port.
    fn probes(&self, claimed: Claimed) -> Vec<News> {
        let Some(claim) = self.claims.get(&claimed) else {
            return Vec::new();
        };
        let asked = self.addresses.values().filter(|host| match claimed {
            Claimed::Station(mac) => host.mac == mac && host.port == claim.owner,
            Claimed::Address(address) => host.address == address,
        });
        asked
            .map(|host| News::Ask(claim.owner, presence_probe(host.mac, host.address)))
            .collect()
    }

    /// The sender is at this port now, with every address it had before. Gives what moved.
    fn move_to(&mut self, port: PortRef, sender: Sender, now: Time) -> Vec<Host> {
        let before = self.stations.insert(sender.mac, port);
        self.stations_at.moved(before, port);
        let mut moved = Vec::new();
        for host in self.addresses.values_mut() {
            let is_sender = host.mac == sender.mac || sender.address == Some(host.address);
            if is_sender && (host.port, host.mac) != (port, sender.mac) {
                self.addresses_at.moved(Some(host.port), port);
                *host = Host {
                    address: host.address,
                    mac: sender.mac,
                    port,
                    since: now,
                };
                moved.push(host.clone());
            }
        }
        if let Some(address) = sender.address
            && !self.addresses.contains_key(&address)
        {
            let host = Host {
                address,
                mac: sender.mac,
                port,
                since: now,
            };
            self.addresses.insert(address, host.clone());
            self.addresses_at.moved(None, port);
            moved.push(host);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const HERE: PortRef = PortRef::new(1, 1);
    const THERE: PortRef = PortRef::new(2, 7);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn ip() -> IpAddr {
        "10.0.0.1".parse().unwrap()
    }

    fn says(mac: MacAddr, address: Option<IpAddr>) -> Sender {
        Sender { mac, address }
    }

    fn with_one_host() -> Hosts {
        let mut hosts = Hosts::new(&NetworkConfig::new([0; 32]));
        hosts.heard(HERE, says(MAC, Some(ip())), |_| Presence::Up, at(0));
        assert_eq!(hosts.get(ip()).unwrap().port, HERE);
        hosts
    }

    fn drain(hosts: &mut Hosts, until: Time) -> Vec<News> {
        let mut news = Vec::new();
        while let Some(deadline) = hosts.next_deadline().filter(|deadline| *deadline <= until) {
            news.extend(hosts.tick(|_| Some(deadline), deadline));
        }
        news
    }

    #[test]
    fn a_claimed_station_does_not_move_while_the_owner_answers() {
        let mut hosts = with_one_host();
        let news = hosts.heard(THERE, says(MAC, Some(ip())), |_| Presence::Up, at(1_000));
        let blocked = News::Quarantine(THERE, Claimed::Station(MAC), at(11_000));
        assert_eq!(news.first(), Some(&blocked));
        assert!(
            matches!(news.get(1), Some(News::Ask(HERE, _))),
            "the owner is asked at its own port"
        );
        hosts.heard(HERE, says(MAC, Some(ip())), |_| Presence::Up, at(1_500));
        assert_eq!(
            drain(&mut hosts, at(60_000)),
            [News::Released(THERE, Claimed::Station(MAC))]
        );
        assert_eq!(hosts.get(ip()).unwrap().port, HERE);
    }

    #[test]
    fn a_claimed_address_does_not_move_while_the_owner_answers() {
        let mut hosts = with_one_host();
        let news = hosts.heard(THERE, says(OTHER, Some(ip())), |_| Presence::Up, at(1_000));
        assert!(news.contains(&News::Quarantine(THERE, Claimed::Address(ip()), at(11_000))));
        hosts.heard(HERE, says(MAC, Some(ip())), |_| Presence::Up, at(2_999));
        drain(&mut hosts, at(60_000));
        assert_eq!(hosts.get(ip()).unwrap().mac, MAC);
    }

    #[test]
    fn a_host_whose_owner_does_not_answer_has_moved() {
        let mut hosts = with_one_host();
        hosts.heard(THERE, says(MAC, Some(ip())), |_| Presence::Up, at(1_000));
        let news = drain(&mut hosts, at(2_999));
        assert!(!news.is_empty() && news.iter().all(|news| matches!(news, News::Ask(HERE, _))));
        let news = drain(&mut hosts, at(3_000));
        let moved = Host {
            address: ip(),
            mac: MAC,
            port: THERE,
            since: at(3_000),
        };
        assert!(news.contains(&News::Moved(vec![moved])), "{news:?}");
        assert!(news.contains(&News::Released(THERE, Claimed::Station(MAC))));
    }

    #[test]
    fn a_host_does_not_move_while_the_switch_of_the_owner_is_silent() {
        let mut hosts = with_one_host();
        hosts.heard(THERE, says(MAC, Some(ip())), |_| Presence::Up, at(1_000));
        for silent in [None, Some(at(999))] {
            let news = hosts.tick(|_| silent, hosts.next_deadline().unwrap());
            assert!(!news.iter().any(|news| matches!(news, News::Moved(_))));
            hosts.tick(|_| silent, at(3_000));
            assert_eq!(hosts.get(ip()).unwrap().port, HERE);
        }
        let asked_last = at(3_000);
        hosts.tick(|_| Some(asked_last), at(5_000));
        assert_eq!(
            hosts.get(ip()).unwrap().port,
            THERE,
            "only the owner is silent"
        );
    }

    #[test]
    fn a_host_whose_old_port_is_down_moves_at_once() {
        let mut hosts = with_one_host();
        let news = hosts.heard(THERE, says(MAC, Some(ip())), |_| Presence::Down, at(1_000));
        assert!(
            matches!(news.first(), Some(News::Moved(hosts)) if hosts.len() == 1),
            "{news:?}"
        );
        assert_eq!(hosts.get(ip()).unwrap().port, THERE);
    }

    #[test]
    fn nothing_moves_while_the_owners_switch_is_away() {
        let mut hosts = with_one_host();
        hosts.heard(
            THERE,
            says(MAC, Some(ip())),
            |_| Presence::Unknown,
            at(1_000),
        );
        drain(&mut hosts, at(60_000));
        assert_eq!(hosts.get(ip()).unwrap().port, HERE);
    }

    #[test]
    fn a_name_taken_while_the_owners_switch_was_away_goes_back_when_it_is_read() {
        let sender = says(MAC, Some(ip()));
        for thief in [sender, says(OTHER, Some(ip()))] {
            let mut hosts = Hosts::new(&NetworkConfig::new([0; 32]));
            hosts.heard(THERE, thief, |_| Presence::Up, at(0));
            // Before its switch was read back, the owner had to pass for a claimant.
            hosts.heard(HERE, sender, |_| Presence::Up, at(10));
            let news = hosts.remember(HERE, true, MAC, Some(ip()), at(1_000));
            assert!(
                news.iter().any(|news| matches!(news, News::Ask(HERE, _))),
                "the owner is asked: {news:?}"
            );
            assert!(
                news.iter()
                    .any(|news| matches!(news, News::Quarantine(THERE, ..))),
                "the thief is blocked: {news:?}"
            );
            assert!(
                !hosts.quarantines().any(|(port, ..)| port == HERE),
                "the owner is blocked"
            );
            let host = hosts.get(ip()).unwrap();
            assert_eq!((host.port, host.mac), (HERE, MAC));
            hosts.heard(HERE, sender, |_| Presence::Up, at(1_100));
            drain(&mut hosts, at(60_000));
            assert_eq!(hosts.get(ip()).unwrap().port, HERE);
        }
    }

    #[test]
    fn a_host_that_moved_while_its_switch_was_away_stays_where_it_is() {
        let mut hosts = Hosts::new(&NetworkConfig::new([0; 32]));
        let sender = says(MAC, Some(ip()));
        hosts.heard(THERE, sender, |_| Presence::Up, at(0));
        hosts.remember(HERE, true, MAC, Some(ip()), at(1_000));
        drain(&mut hosts, at(60_000));
        assert_eq!(
            hosts.get(ip()).unwrap().port,
            THERE,
            "nobody answered at the old port"
        );
        let news = hosts.remember(HERE, false, MAC, Some(ip()), at(70_000));
        assert_eq!(news, [], "nobody can answer at a port that is down");
        assert_eq!(hosts.get(ip()).unwrap().port, THERE);
    }

    #[test]
    fn no_more_is_learned_at_a_full_port() {
        let mut hosts = Hosts::new(&NetworkConfig {
            hosts_per_port: 2,
            ..NetworkConfig::new([0; 32])
        });
        for last in 1..=3 {
            let address = IpAddr::from([10, 0, 0, last]);
            let news = hosts.heard(HERE, says(MAC, Some(address)), |_| Presence::Up, at(0));
            assert_eq!(hosts.get(address).is_some(), last <= 2);
            assert_eq!(news.contains(&News::Full(HERE)), last == 2);
        }
    }

    #[test]
    fn nobody_is_learned_under_the_api_s_names() {
        let api = ApiPort {
            address: ip(),
            mac: OTHER,
        };
        let mut hosts = Hosts::new(&NetworkConfig {
            api: Some(api),
            ..NetworkConfig::new([0; 32])
        });
        for sender in [says(MAC, Some(ip())), says(OTHER, None)] {
            assert_eq!(hosts.heard(HERE, sender, |_| Presence::Up, at(0)), []);
        }
        assert_eq!(hosts.stations().count(), 0);
    }

    proptest! {
        /// Hosts speak, move while their port is down, and are forgotten with their port.
        #[test]
        fn the_census_is_what_counting_gives(steps in prop::collection::vec((0u8..6, 0u32..3, 0u8..4, 0u8..4), 0..60)) {
            let mut hosts = Hosts::new(&NetworkConfig::new([0; 32]));
            for (time, (step, port, mac, address)) in steps.into_iter().enumerate() {
                let (port, now) = (PortRef::new(1, port), at(time as u64 * 700));
                let sender = says(MacAddr([2, 0, 0, 0, 0, mac]), Some(IpAddr::from([10, 0, 0, address])));
                match step {
                    0 => drop(hosts.forget_port(port)),
                    1 => drop(hosts.heard(port, sender, |_| Presence::Down, now)),
                    2 => drop(hosts.tick(|_| Some(now), now)),
                    3 => drop(hosts.remember(port, true, sender.mac, sender.address, now)),
                    _ => drop(hosts.heard(port, sender, |_| Presence::Up, now)),
                }
                for port in (0..3).map(|port| PortRef::new(1, port)) {
                    let stations = hosts.stations().filter(|(_, at)| *at == port).count();
                    let addresses = hosts.all().filter(|host| host.port == port).count();
                    prop_assert_eq!((hosts.stations_at.at(port), hosts.addresses_at.at(port)), (stations, addresses));
                }
            }
        }
    }
}
