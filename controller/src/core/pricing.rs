//! What capacity costs at present, and later: the operator's prices, what the book shows, and how much was sold of late.

use std::time::Duration;

use payflow_payment::Amount;
use payflow_qos::{
    Class, CommitmentId, Path, PortRef, Reason, Window,
    admission::{find_path, fitting_path},
    price::{Charge, Factor, Purchase},
};

use super::{
    Core,
    alarms::Alarm,
    document::{Chance, OutlookDocument, OutlookRequest, PriceDocument, PriceRequest},
    io::Caller,
    journal::Record,
    paying::MOST_SIGNED,
    problem::Problem,
    quoting::{Wanted, field, key_of, millis, refused},
    reply::Answer,
    unix,
};

/// The most starts that one outlook looks at: a day in quarters of an hour.
pub const MOST_CHANCES: u32 = 96;

impl Core {
    /// What it would cost, and whether there is room for it; or the same for later starts. Nothing is held.
    pub(super) fn price(&self, caller: &Caller, body: PriceRequest) -> Result<Answer, Problem> {
        let buyer = key_of(caller)?;
        let outlook = body.outlook;
        let wanted = self.understand(buyer, caller, body.into())?;
        if let Some(outlook) = outlook {
            return self.outlook(wanted, outlook).map(Answer::Outlook);
        }
        let ask = wanted.ask(self.window(&wanted)?);
        let path = find_path(self.network.topology(), &self.book, &ask)
            .map_err(|refusal| refused(&refusal))?;
        Ok(Answer::Price(PriceDocument {
            price: Amount(self.charge(&wanted, &path, None)?.total()),
            class: wanted.class,
            rate_bps: wanted.rate.bps(),
            start_at: wanted.starts_at.map(unix),
            duration_ms: millis(wanted.duration),
            path: path.egress_ports().collect(),
            delay_bound_ms: self.delay_bound_ms(&wanted, &path)?,
        }))
    }

    fn outlook(
        &self,
        mut wanted: Wanted,
        outlook: OutlookRequest,
    ) -> Result<OutlookDocument, Problem> {
        if outlook.step_s == 0 || !(1..=MOST_CHANCES).contains(&outlook.count) {
            return Err(field(
                "outlook",
                &format!(
                    "an outlook has a step_s of at least 1 and a count from 1 to {MOST_CHANCES}"
                ),
            ));
        }
        let first = wanted.starts_at.unwrap_or(self.now);
        let mut chances = Vec::new();
        for index in 0..u64::from(outlook.count) {
            let ahead = Duration::from_secs(index.saturating_mul(outlook.step_s));
            if index > 0 {
                wanted.starts_at = Some(first.plus(ahead));
            }
            let Ok(window) = self.window(&wanted) else {
                break;
            };
            let ask = wanted.ask(window);
            let (price, refusal) = match fitting_path(self.network.topology(), &self.book, &ask) {
                Ok(path) => {
                    let charge = self.charge(&wanted, &path, None)?;
                    (Some(Amount(charge.total())), None)
                }
                Err(Reason::BeyondHorizon { .. }) => break,
                Err(reason) => (None, Some(reason)),
            };
            chances.push(Chance {
                start_at: unix(wanted.starts_at.unwrap_or(self.now)),
                price,
                refusal,
            });
        }
        if chances.is_empty() {
            return Err(self.beyond_horizon());
        }
        Ok(OutlookDocument {
            class: wanted.class,
            rate_bps: wanted.rate.bps(),
            duration_ms: millis(wanted.duration),
            chances,
        })
    }

    /// The price of the paid time on this path, as if it began when it is to begin, or now. What it takes the place of counts as
    /// not booked.
    pub(super) fn charge(
        &self,
        wanted: &Wanted,
        path: &Path,
        replacing: Option<CommitmentId>,
    ) -> Result<Charge, Problem> {
        let window = Window::lasting(wanted.starts_at.unwrap_or(self.now), wanted.duration);
        let links: Vec<PortRef> = path.egress_ports().collect();
        window
            .and_then(|window| {
                let purchase = Purchase {
                    path: &links,
                    class: wanted.class,
                    rate: wanted.rate,
                    window,
                    replacing,
                };
                self.config
                    .pricing
                    .charge(&self.book, &purchase, self.base_factor())
            })
            .filter(|charge| charge.total() <= MOST_SIGNED)
            .ok_or_else(|| {
                field(
                    "rate_bps",
                    "so much for so long costs more than 9 million IOTA, the most that a quote can name; ask for less",
                )
            })
    }

    pub(super) fn base_factor(&self) -> Factor {
        match self.config.following {
            Some(_) => self.base_price.factor(),
            None => Factor::ONE,
        }
    }

    /// Moves the base price, once its interval has passed, and comes back at the end of the next.
    pub(super) fn follow_demand(&mut self) {
        let Some(following) = self.config.following else {
            return;
        };
        let before = self.base_price.factor();
        let sold = self.sold_millionths();
        if self.base_price.observe(&following, self.now, sold) && self.base_price.factor() != before
        {
            let (price, at) = (self.base_price, self.now);
            self.record(Record::BasePrice { price, at });
        }
        let next = self
            .base_price
            .next(&following)
            .max(self.now.plus(Duration::from_millis(1)));
        self.alarms.set(Alarm::BasePrice, next);
    }

    /// Of the links between switches; of those to hosts where there is one switch.
    fn sold_millionths(&self) -> u32 {
        let mut links: Vec<PortRef> = self
            .network
            .topology()
            .links()
            .map(|(egress, _)| egress)
            .collect();
        if links.is_empty() {
            links = self.book.links().map(|(port, _)| port).collect();
        }
        self.book.sold_millionths(&links, self.now)
    }
}

/// Whether a class can be bought.
pub(super) fn sold_class(class: Class) -> Result<Class, Problem> {
    match class {
        Class::Steady | Class::Elastic => Ok(class),
        Class::Control | Class::BestEffort => Err(field(
            "class",
            "this class is not sold; steady and elastic are",
        )),
    }
}
