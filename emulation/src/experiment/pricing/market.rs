//! One network, one demand, one rule that sells: the real book, path search and prices.

use super::{demand::Request, network::Network};
use payflow_qos::{
    CommitmentId,
    admission::fitting_path,
    price::{BasePrice, Factor, Following, Pricing, Purchase},
};

/// A rule that sells.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// What flows cost.
    pub pricing: Pricing,
    /// How a base price follows demand on top, if it does.
    pub following: Option<Following>,
}

/// What became of the requests that count. Sums in nanos and kbit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Requests.
    pub requests: u64,
    /// What they were worth together.
    pub offered: u128,
    /// Those that bought.
    pub accepted: u64,
    /// Those for which there was no room.
    pub no_room: u64,
    /// Those for which there was, at a price above their value.
    pub too_dear: u64,
    /// Welfare: what it was worth to those that bought.
    pub welfare: u128,
    /// What they paid.
    pub revenue: u128,
    /// What was asked for.
    pub offered_kbit: u128,
    /// What was sold.
    pub sold_kbit: u128,
}

impl Outcome {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            offered: self.offered + other.offered,
            accepted: self.accepted + other.accepted,
            no_room: self.no_room + other.no_room,
            too_dear: self.too_dear + other.too_dear,
            welfare: self.welfare + other.welfare,
            revenue: self.revenue + other.revenue,
            offered_kbit: self.offered_kbit + other.offered_kbit,
            sold_kbit: self.sold_kbit + other.sold_kbit,
        }
    }
}

/// Asks one after another, in order of time: each gets the shortest path that has room, hears its price, and buys if that is
/// not above its value. What was bought is kept to its end.
pub(super) fn run(network: &Network, requests: &[Request], rule: &Rule) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(first) = requests.first() else {
        return outcome;
    };
    let mut book = network.book(first.at);
    let mut base_price = BasePrice::default();
    for (number, request) in (0..).zip(requests) {
        book.advance(request.at);
        let factor = match &rule.following {
            Some(following) => {
                if request.at >= base_price.next(following) {
                    let sold = book.sold_millionths(network.trunks(), request.at);
                    base_price.observe(following, request.at, sold);
                }
                base_price.factor()
            }
            None => Factor::ONE,
        };
        let ask = &request.ask;
        let kbit = u128::from(ask.rate.0) * u128::from(ask.window.millis()) / 1_000;
        let mut this = Outcome {
            requests: 1,
            offered: request.value.into(),
            offered_kbit: kbit,
            ..Outcome::default()
        };
        match fitting_path(network.topology(), &book, ask) {
            Err(_) => this.no_room = 1,
            Ok(path) => {
                let ports: Vec<_> = path.egress_ports().collect();
                let purchase = Purchase {
                    path: &ports,
                    class: ask.class,
                    rate: ask.rate,
                    window: ask.window,
                    replacing: None,
                };
                let charge = rule.pricing.charge(&book, &purchase, factor);
                match charge.filter(|charge| charge.total() <= request.value) {
                    None => this.too_dear = 1,
                    Some(charge) => {
                        let commitment = ask.commitment(&path, charge.total());
                        book.commit(CommitmentId(number), &commitment)
                            .expect("a path that was found can be committed");
                        this.accepted = 1;
                        this.welfare = request.value.into();
                        this.revenue = charge.total().into();
                        this.sold_kbit = kbit;
                    }
                }
            }
        }
        if request.counts {
            outcome = outcome.plus(this);
        }
    }
    outcome
}
