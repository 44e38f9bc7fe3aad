//! What an operator changes while everything runs: whether anything new is sold, and what the configuration says of it.
//! Nothing of either touches what was sold before.

use payflow_payment::UnixMillis;
use payflow_qos::{PerMille, PortRef};

use super::{
    Core, CoreConfig,
    alarms::Alarm,
    io::Caller,
    journal::Record,
    problem::{Problem, ProblemKind},
    reply::{Answer, Selling},
    reservation::State,
    unix,
    views::operator,
};

impl Core {
    /// Stops selling, or sells again. Quotes that are open can still be paid, and whatever is sold is carried, changed hands of
    /// vouchers for, moved, cancelled, settled and refunded as before. It outlives a restart.
    pub(super) fn stop_selling(
        &mut self,
        caller: &Caller,
        stopped: bool,
    ) -> Result<Answer, Problem> {
        operator(caller)?;
        if self.register.selling_stopped.is_some() != stopped {
            let at = self.now;
            self.record(Record::SellingStopped { stopped, at });
            tracing::warn!(
                stopped,
                "the operator has decided whether anything new is sold"
            );
        }
        Ok(Answer::Selling(self.selling()))
    }

    /// Whether anything new is sold, as far as the operator decides it.
    pub(super) fn selling(&self) -> Selling {
        let stopped_at: Option<UnixMillis> = self.register.selling_stopped.map(unix);
        Selling {
            selling: stopped_at.is_none(),
            stopped_at,
        }
    }

    /// Nothing new, while that is stopped.
    pub(super) fn is_selling(&self) -> Result<(), Problem> {
        let Some(since) = self.register.selling_stopped else {
            return Ok(());
        };
        Err(Problem::new(
            ProblemKind::NotSelling,
            "the operator sells nothing new at present; what is bought is carried on, and open quotes can be paid",
        )
        .with("stopped_at", unix(since)))
    }

    /// From now on the operator wants it so. What quotes say stays as it was signed; chain, asset and patience are those of the
    /// start.
    pub(super) fn reconfigure(&mut self, wanted: CoreConfig) {
        let CoreConfig {
            chain_id: _,
            asset: _,
            install_patience: _,
            suspend_patience: _,
            treasury_minimum: _,
            pricing,
            following,
            quote_ttl,
            grace,
            cancellation_fee,
            mispayment_fee,
            max_duration,
            shares,
            receipts,
            enrolled,
        } = wanted;
        let follows_otherwise = self.config.following != following;
        let signs_otherwise = self.config.receipts != receipts;
        let config = &mut self.config;
        config.pricing = pricing;
        config.following = following;
        config.quote_ttl = quote_ttl;
        config.grace = grace;
        config.cancellation_fee = cancellation_fee;
        config.mispayment_fee = mispayment_fee;
        config.max_duration = max_duration;
        config.shares = shares;
        config.receipts = receipts;
        config.enrolled = enrolled;
        if follows_otherwise {
            self.alarms.clear(Alarm::BasePrice);
            self.follow_demand();
        }
        if signs_otherwise {
            self.expect_receipts_anew();
        }
        let links: Vec<PortRef> = self.book.links().map(|(link, _)| link).collect();
        for link in links {
            self.book.set_share(link, self.share_of(link));
        }
    }

    /// What part of a link is for sale.
    pub(super) fn share_of(&self, link: PortRef) -> PerMille {
        let shares = &self.config.shares;
        let name = self.network.port_name(link);
        let own = name.and_then(|name| shares.ports.get(&(link.switch, name)));
        *own.unwrap_or(&shares.usual)
    }

    fn expect_receipts_anew(&mut self) {
        let running = self.register.reservations.values();
        let running: Vec<_> = running
            .filter(|it| matches!(it.state, State::Active | State::Suspended))
            .map(|it| it.issued.number)
            .collect();
        for number in running {
            self.alarms.clear(Alarm::Interim(number));
            self.expect_interim(number);
        }
        self.alarms.clear(Alarm::Anchor);
        self.resume_anchors();
    }
}
