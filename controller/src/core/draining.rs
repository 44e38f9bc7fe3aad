//! Links and switches that an operator takes out of service: nothing new is sold over them, and what is carried there moves to
//! other paths that have room, the most valuable first. What finds none stays until it ends. Asking again tries again.

use std::cmp::Reverse;

use payflow_qos::{PortNo, PortRef, SwitchId};

use super::{
    Core,
    document::ReservationNumber,
    io::Caller,
    journal::Record,
    problem::Problem,
    reply::{Answer, Drain},
    reservation::State,
    views::operator,
};

impl Core {
    /// Drains a directed link, by its egress port, or everything that leaves a switch; or ends that.
    pub(super) fn drain(
        &mut self,
        caller: &Caller,
        switch: SwitchId,
        port: Option<PortNo>,
        drained: bool,
    ) -> Result<Answer, Problem> {
        operator(caller)?;
        if self.register.drained.contains(&(switch, port)) != drained {
            let at = self.now;
            self.record(Record::Drained {
                switch,
                port,
                drained,
                at,
            });
            self.book.drain(switch, port, drained);
        }
        let mut answer = Drain {
            switch,
            port,
            drained,
            moved: Vec::new(),
            stay: Vec::new(),
        };
        if drained {
            for number in self.carried_over_drained() {
                let moved = self.try_move(number, "a link of its path is drained");
                let list = if moved {
                    &mut answer.moved
                } else {
                    &mut answer.stay
                };
                list.push(number.reservation_id());
            }
        }
        Ok(Answer::Drain(answer))
    }

    /// What is drained, after a restart.
    pub(super) fn recall_drains(&mut self) {
        for (switch, port) in &self.register.drained {
            self.book.drain(*switch, *port, true);
        }
    }

    fn carried_over_drained(&self) -> Vec<ReservationNumber> {
        let is_drained = |link: PortRef| self.book.is_drained(link);
        let reservations = self.register.reservations.values();
        let mut numbers: Vec<_> = reservations
            .filter(|it| {
                let carried = matches!(
                    it.state,
                    State::Scheduled | State::Installing | State::Active | State::Suspended
                );
                carried && !it.displaced && it.issued.path.egress_ports().any(is_drained)
            })
            .map(|it| (Reverse(it.quote().payment.price), it.issued.number))
            .collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|(_, number)| number).collect()
    }
}
