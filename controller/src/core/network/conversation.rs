//! What is said between the controller and its switches: connections that come and go, what they bring, and
//! what is sent when.

use payflow_qos::{PortRef, SwitchId, Time};
use rust_openflow::{
    BundleCommand, BundleControl, DecodeError, DownReason, Experimenter, FlowRemovedReason, Header,
    Input, Message, MultipartReplyBody, Output, RequestError, SwitchFeatures,
};
use tracing::{debug, info, warn};

use super::{
    ConnectionId, FlowId, Network, NetworkEvent, NetworkOutput,
    chatter::Chatter,
    cookie::INFRASTRUCTURE,
    entry::reservation_meter,
    identity::{KeyFingerprint, Peer, Verdict},
    pipeline::Remembered,
    reconcile::Confirmed,
    switch::{Connection, Reading, State, Switch, Through, session_time},
};

/// A connection that brings so many messages that cannot be read is no use.
const MAX_UNREADABLE: u32 = 64;

impl Network {
    pub(super) fn connected(&mut self, id: ConnectionId, peer: Peer, now: Time) {
        let mut connection = Connection::new(peer, self.config.timings.echo);
        connection
            .session
            .handle(Input::Connected, session_time(now));
        self.connections.insert(id, connection);
        self.listen(id, now);
    }

    pub(super) fn received(&mut self, id: ConnectionId, bytes: &[u8], now: Time) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection
                .session
                .handle(Input::Received(bytes), session_time(now));
            self.listen(id, now);
        }
    }

    pub(super) fn closed(&mut self, id: ConnectionId, now: Time) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session.handle(Input::Closed, session_time(now));
            self.listen(id, now);
        }
    }

    pub(super) fn tick_sessions(&mut self, now: Time) {
        let time = session_time(now);
        for id in self.connections.due(now) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.session.handle(Input::DeadlineReached, time);
            }
            self.listen(id, now);
        }
    }

    /// Looks at every switch whose time has come: ports may have settled, and it may be asked for its counters and entries.
    pub(super) fn tick_switches(&mut self, now: Time) {
        for id in self.switches.due(now) {
            let Some(switch) = self.switches.get_mut(&id) else {
                continue;
            };
            self.stale |= switch.ports.values().any(|port| port.has_settled(now));
            if !switch.is_read() || now < switch.audit_at {
                continue;
            }
            switch.audit_at = now.plus(self.config.timings.audit);
            let connection = self
                .spokesmen
                .get(&id)
                .and_then(|connection| self.connections.get_mut(connection));
            if let (Some(connection), None) = (connection, &switch.audit) {
                let mut reading = connection.audit(self.config.port_counters, now);
                reading.blurred = !switch.reconciler.is_quiet();
                switch.audit = Some(Box::new(reading));
            }
        }
    }

    /// Sends what differs to the switches that something has happened to, and passes on what sessions have to say.
    pub(super) fn flush(&mut self, now: Time) {
        let mut ready = Vec::new();
        let mut whole = Vec::new();
        for id in self.switches.touched() {
            let Some(switch) = self.switches.get_mut(&id) else {
                continue;
            };
            let connection = self
                .spokesmen
                .get(&id)
                .and_then(|connection| self.connections.get_mut(connection));
            let (Some(connection), true) = (connection, switch.is_read()) else {
                continue;
            };
            switch
                .reconciler
                .flush(now, &mut Through { connection, now });
            if !switch.reconciler.is_quiet()
                && let Some(audit) = &mut switch.audit
            {
                audit.blurred = true;
            }
            if matches!(switch.state, State::Mending) && switch.reconciler.is_in_step(now) {
                switch.state = State::Ready;
                ready.push(id);
            }
            let was_refused = self.fitness.get(&id).is_some_and(|it| it.refusal.is_some());
            if was_refused
                && switch.reconciler.is_quiet()
                && !switch.reconciler.lacks_infrastructure()
            {
                whole.push(id);
            }
        }
        for switch in whole {
            self.infrastructure_refused(switch, None);
        }
        for switch in ready {
            info!(%switch, "switch ready");
            self.emit(NetworkEvent::SwitchReady { switch });
            self.order_all_classes(switch, now);
        }
        self.release_frames(now);
        self.pass_on();
    }

    /// Takes the bytes that sessions want sent; nothing else can be waiting in them.
    fn pass_on(&mut self) {
        let mut useless = Vec::new();
        for id in self.connections.touched() {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let mut bytes = Vec::new();
            while let Some(output) = connection.session.poll() {
                match output {
                    Output::Send(more) => bytes.extend(more),
                    other => debug!(?other, "out of turn"),
                }
            }
            if !bytes.is_empty() {
                self.outputs.push_back(NetworkOutput::Send {
                    connection: id,
                    bytes,
                });
            }
            if let Some(error) = &connection.broken {
                useless.push((id, format!("a message could not be sent: {error}")));
            }
        }
        for (id, reason) in useless {
            self.hang_up(id, Some(reason), self.now);
        }
    }

    /// Takes everything a session has to say.
    fn listen(&mut self, id: ConnectionId, now: Time) {
        let mut bytes = Vec::new();
        while let Some(output) = self
            .connections
            .get_mut(&id)
            .and_then(|connection| connection.session.poll())
        {
            if let Output::Send(more) = output {
                bytes.extend(more);
                continue;
            }
            if !bytes.is_empty() {
                let bytes = std::mem::take(&mut bytes);
                self.outputs.push_back(NetworkOutput::Send {
                    connection: id,
                    bytes,
                });
            }
            self.hear(id, output, now);
        }
        if !bytes.is_empty() {
            self.outputs.push_back(NetworkOutput::Send {
                connection: id,
                bytes,
            });
        }
    }

    fn hear(&mut self, id: ConnectionId, output: Output, now: Time) {
        let switch = self
            .connections
            .get(&id)
            .and_then(|connection| connection.switch);
        match (output, switch) {
            (Output::Up(features), _) => self.introduced(id, &features, now),
            (Output::Down(DownReason::Closed), _) => self.hang_up(id, None, now),
            (Output::Down(reason), _) => self.hang_up(id, Some(reason.to_string()), now),
            (Output::Malformed { header, error }, _) => self.unreadable(id, header, &error, now),
            (Output::Message { message, .. }, Some(switch)) => self.told(switch, message, now),
            (Output::MultipartDone { xid, body }, Some(switch)) => {
                self.answered(switch, xid, body, now)
            }
            (Output::BarrierReply { xid }, Some(switch)) => self.barrier(switch, xid, now),
            (Output::Error { xid, error }, Some(switch)) => {
                let error = error.to_string();
                let known = self.switch_mut(switch);
                known.errors = known.errors.saturating_add(1);
                let reconciler = &mut known.reconciler;
                if reconciler.ends_batch(xid) {
                    // Without barriers nothing is ever known to be there.
                    self.hang_up(id, Some(format!("it refuses a barrier: {error}")), now);
                } else if !reconciler.error(xid, &error)
                    && !self.unanswered(id, switch, xid, &error, now)
                    && self.may_say(switch, Chatter::Errors, now)
                {
                    warn!(%switch, xid, error, "the switch refused a message");
                }
            }
            (
                Output::Reply {
                    xid,
                    message: Message::Experimenter(answer),
                },
                Some(switch),
            ) if is_committed(&answer) => {
                self.switch_mut(switch).reconciler.reply(xid);
            }
            (Output::RequestFailed { xid, error }, Some(switch)) => {
                // Without this answer nothing is known for sure: start over. A switch that answers, but not to the point,
                // is taken as it is.
                let known = self.switch_mut(switch);
                let late = matches!(error, RequestError::TimedOut(_))
                    && matches!(known.state, State::Reading(_));
                let error = error.to_string();
                if known.reconciler.is_unheeded(xid) {
                    debug!(%switch, xid, error, "a bundle was passed over");
                } else if late || !self.unanswered(id, switch, xid, &error, now) {
                    self.hang_up(id, Some(format!("request {xid}: {error}")), now);
                }
            }
            (other, _) => debug!(connection = id.0, ?other, "passed over"),
        }
    }

    /// The switch has said who it is.
    fn introduced(&mut self, id: ConnectionId, features: &SwitchFeatures, now: Time) {
        let switch = SwitchId(features.datapath_id.0);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_live = self.spokesmen.contains_key(&switch);
        let judged = self.identities.judge(switch, &connection.peer);
        let may_speak = !matches!(judged, Verdict::Refused(_));
        let verdict = match judged {
            Verdict::Refused(reason) => Verdict::Refused(reason),
            // The live one keeps the datapath id. If it is the same switch, and its old connection is dead, that
            // shows soon, and it is let in when it tries again.
            _ if is_live => Verdict::Refused(
                "the switch is connected already, and no two may have one datapath id; if its old connection is dead, \
                 it is let in when it tries again"
                    .to_owned(),
            ),
            verdict => verdict,
        };
        match verdict {
            Verdict::Refused(reason) => {
                if may_speak {
                    self.probe(switch, now);
                }
                self.complain(switch, id, &reason, now);
                self.hang_up(id, Some(format!("not accepted as switch {switch}")), now);
            }
            Verdict::Admitted => {
                connection.switch = Some(switch);
                self.spokesmen.insert(switch, id);
                self.begin(switch, now);
            }
            Verdict::Awaited => {
                connection.switch = Some(switch);
                self.spokesmen.insert(switch, id);
            }
            Verdict::Unknown => {
                connection.switch = Some(switch);
                self.spokesmen.insert(switch, id);
                if let Peer::Tls(certificate) = &connection.peer {
                    let certificate = certificate.clone();
                    self.identities.meet(switch, certificate.key);
                    self.emit(NetworkEvent::SwitchMet {
                        switch,
                        certificate,
                    });
                }
            }
        }
    }

    /// The connection that speaks for a switch.
    pub(super) fn spokesman(&mut self, switch: SwitchId) -> Option<&mut Connection> {
        self.connections.get_mut(self.spokesmen.get(&switch)?)
    }

    /// Asks the switch that is connected whether it still is.
    fn probe(&mut self, switch: SwitchId, now: Time) {
        let patience = self.config.timings.probe;
        if let Some(connection) = self.spokesman(switch) {
            connection.session.probe(patience, session_time(now));
        }
    }

    /// Tells of a connection that was refused, now and then: a switch tries again every second.
    fn complain(&mut self, switch: SwitchId, id: ConnectionId, reason: &str, now: Time) {
        let said = self.complaints.get(&switch);
        let is_news = said.is_none_or(|(until, before)| now >= *until || before != reason);
        if is_news {
            warn!(%switch, connection = id.0, reason, "a switch is refused");
            let until = now.plus(self.config.timings.complaint);
            self.complaints.insert(switch, (until, reason.to_owned()));
        } else {
            debug!(%switch, connection = id.0, reason, "a switch is refused");
        }
    }

    /// It is durable that the datapath id belongs to this key. A switch that waits for that is served.
    pub(super) fn bound(&mut self, switch: SwitchId, key: KeyFingerprint, now: Time) {
        self.identities.bind(switch, key);
        let waits = matches!(self.peer(switch), Some(Peer::Tls(it)) if it.key == key)
            && self
                .switches
                .get(&switch)
                .is_none_or(|it| matches!(it.state, State::Away { .. }));
        if waits {
            self.begin(switch, now);
        }
    }

    /// Asks a switch that may speak for its datapath id what it is and holds.
    fn begin(&mut self, switch: SwitchId, now: Time) {
        if let Some(connection) = self.spokesman(switch) {
            let reading = connection.introduce(now);
            self.switch_mut(switch).state = State::Reading(Box::new(reading));
        }
    }

    /// The connection is of no use any more; with a reason it is we who close it.
    fn hang_up(&mut self, id: ConnectionId, reason: Option<String>, now: Time) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some(reason) = reason {
            self.outputs.push_back(NetworkOutput::Close {
                connection: id,
                reason,
            });
        }
        let Some(id) = connection.switch else { return };
        self.spokesmen.remove(&id);
        let switch = self.switch_mut(id);
        let was_read = switch.is_read();
        switch.state = State::Away { since: now };
        switch.audit = None;
        switch.asked.clear();
        switch.reconciler.disconnected();
        self.loads.forget(id);
        if was_read {
            info!(switch = %id, "switch lost");
            self.stop_ports(id);
            self.topology.remove_switch(id);
            self.redraw = true;
            self.emit(NetworkEvent::SwitchLost { switch: id });
        }
    }

    /// An answer to one of the questions at the start or of an audit.
    fn answered(&mut self, switch: SwitchId, xid: u32, body: MultipartReplyBody, now: Time) {
        if self.told_counters(switch, xid, &body, now) {
            return;
        }
        let known = self.switch_mut(switch);
        let complete = match (&mut known.state, &mut known.audit) {
            (State::Reading(reading), _) | (_, Some(reading)) => reading.answer(xid, body),
            _ => None,
        };
        if complete == Some(true) {
            self.read(switch, now);
        }
    }

    /// A message that is none. Who sends many in a minute is no switch, whatever else it sends.
    fn unreadable(&mut self, id: ConnectionId, header: Header, error: &DecodeError, now: Time) {
        let complaint = self.config.timings.complaint;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.unreadable_since.plus(complaint) <= now {
            (connection.unreadable_since, connection.unreadable) = (now, 0);
        }
        connection.unreadable += 1;
        let (unreadable, switch) = (connection.unreadable, connection.switch);
        if switch.is_none_or(|it| self.may_say(it, Chatter::Unreadable, now)) {
            warn!(connection = id.0, ?header, %error, "a message could not be read");
        }
        if unreadable >= MAX_UNREADABLE {
            let reason = format!("{MAX_UNREADABLE} of its messages could not be read: {error}");
            self.hang_up(id, Some(reason), now);
        }
    }

    /// An answer that will not come. Tells whether it was awaited.
    fn unanswered(
        &mut self,
        id: ConnectionId,
        switch: SwitchId,
        xid: u32,
        error: &str,
        now: Time,
    ) -> bool {
        let known = self.switch_mut(switch);
        if known.asked.remove(&xid).is_some() {
            // What its counters show stays unknown.
            return true;
        }
        let rest = match (&mut known.state, &mut known.audit) {
            (State::Reading(reading), _) | (_, Some(reading)) => reading.no_answer(xid),
            _ => None,
        };
        match rest {
            None => return false,
            Some(None) => self.hang_up(
                id,
                Some(format!(
                    "it does not tell its flow entries or ports: {error}"
                )),
                now,
            ),
            Some(Some(true)) => self.read(switch, now),
            Some(Some(false)) => {}
        }
        true
    }

    /// Everything that was asked has been answered.
    fn read(&mut self, switch: SwitchId, now: Time) {
        let known = self.switch_mut(switch);
        if matches!(known.state, State::Reading(_)) {
            if let State::Reading(reading) = std::mem::replace(&mut known.state, State::Mending) {
                self.read_back(switch, *reading, now);
            }
        } else if let Some(reading) = known.audit.take() {
            self.audited(switch, *reading, now);
        }
    }

    /// A switch that has just connected has told what it is and holds.
    fn read_back(&mut self, id: SwitchId, reading: Reading, now: Time) {
        let timings = self.config.timings;
        let ports = reading.ports_now();
        let switch = self.switch_mut(id);
        switch.description = reading.description.unwrap_or_default();
        switch.audit_at = now.plus(timings.audit);
        let foreign = switch
            .reconciler
            .read_back(reading.flows, &reading.meters, now);
        if foreign > 0 && !std::mem::replace(&mut switch.warned, true) {
            warn!(switch = %id, foreign, "the switch holds entries of others; they are left alone and may interfere");
        }
        let remembered: Vec<Remembered> = {
            let ours = switch
                .reconciler
                .held_entries()
                .filter(|(_, owner, _)| *owner == INFRASTRUCTURE);
            ours.filter_map(|(key, _, instructions)| Remembered::from_entry(key, instructions))
                .collect()
        };
        self.topology.add_switch(id);
        self.meters_described(id, reading.meter_features.as_ref());
        let left = self.ports_described(id, &ports, &remembered, now);
        let switch = self.switch_mut(id);
        let opens_others = left.iter().any(|number| switch.ports.contains_key(number));
        if !remembered.is_empty() && !opens_others {
            // It was ours before: best effort goes on as it is until ports, links and hosts are known. Not where what it
            // holds is for ports whose numbers belong to others now.
            switch
                .reconciler
                .defer_infrastructure(now.plus(timings.adoption));
        }
        for remembered in remembered {
            if let Remembered::Station(port, mac, address) = remembered
                && !left.contains(&port)
                && self.port_name(PortRef { switch: id, port }).is_some()
            {
                let up = self.switch_mut(id).is_up(port);
                let port = PortRef { switch: id, port };
                let news = self.hosts.remember(port, up, mac, address, now);
                self.take_news(news, now);
            }
        }
        self.stale = true;
        self.redraw = true;
    }

    /// Counters, and what a switch holds behind our back.
    fn audited(&mut self, id: SwitchId, reading: Reading, now: Time) {
        self.count(id, &reading, now);
        self.loads.note(id, &reading.port_stats, now);
        let soon = now.plus(self.config.timings.audit / 10);
        let switch = self.switch_mut(id);
        if !reading.blurred && switch.reconciler.is_quiet() {
            let meters = (!reading.meters_untold).then_some(reading.meters.as_slice());
            switch.reconciler.compare(reading.flows, meters, now);
        } else {
            switch.audit_at = switch.audit_at.min(soon);
        }
    }

    fn barrier(&mut self, switch: SwitchId, xid: u32, now: Time) {
        let Some(Confirmed {
            flows,
            meters_gone,
            refused,
        }) = self.switch_mut(switch).reconciler.barrier(xid, now)
        else {
            return;
        };
        // What takes the place of entries on their way to the switch, or leaves it to them, waits for these as well, though
        // nothing of it was in the batch.
        for flow in flows {
            let generation = |generation| FlowId { generation, ..flow };
            let of_it = self.flows.range(generation(0)..=generation(u16::MAX));
            self.stirred.extend(of_it.map(|(flow, _)| *flow));
        }
        if !meters_gone.is_empty() {
            let had_one =
                |flow: &&FlowId| meters_gone.contains(&reservation_meter(flow.reservation));
            self.stirred.extend(self.flows.keys().filter(had_one));
        }
        for (flow, reason) in refused {
            if flow == INFRASTRUCTURE {
                self.infrastructure_refused(switch, Some(reason));
                continue;
            }
            if self.may_say(switch, Chatter::Refusals, now) {
                warn!(reservation = %flow.reservation_id(), %switch, ?flow, reason, "the switch refused an entry");
            }
            self.refused(flow, format!("switch {switch}: {reason}"));
        }
    }

    /// Something the switch tells unasked.
    fn told(&mut self, id: SwitchId, message: Message, now: Time) {
        if !self.switches.get(&id).is_some_and(Switch::is_read) {
            // What matters of it is in the answers that are still awaited, but for ports.
            if let (Message::PortStatus(status), Some(switch)) =
                (message, self.switches.get_mut(&id))
                && let State::Reading(reading) = &mut switch.state
            {
                reading.port_changed(status);
            }
            return;
        }
        match message {
            Message::PacketIn(packet) => self.packet_in(id, packet, now),
            Message::PortStatus(status) => self.port_changed(id, &status, now),
            Message::FlowRemoved(removed) => {
                let final_count = (removed.packet_count, removed.byte_count);
                if let Some(flow) = self.owner(removed.cookie) {
                    self.count_entry(id, flow, &removed.flow_match, final_count);
                    let nanos = removed.duration_nsec.min(999_999_999);
                    let age = std::time::Duration::new(removed.duration_sec.into(), nanos);
                    self.count_exit(id, flow, &removed.flow_match, final_count, age);
                }
                let owner = self.switch_mut(id).reconciler.removed(&removed);
                if let Some(flow) =
                    owner.filter(|_| removed.reason != FlowRemovedReason::HARD_TIMEOUT)
                    && self.may_say(id, Chatter::Removals, now)
                {
                    warn!(reservation = %flow.reservation_id(), switch = %id, ?flow, reason = ?removed.reason, "somebody removed an entry of ours");
                }
                self.stirred
                    .extend(owner.filter(|flow| *flow != INFRASTRUCTURE));
            }
            other => debug!(switch = %id, kind = ?other.kind(), "passed over"),
        }
    }

    pub(super) fn owner(&self, cookie: u64) -> Option<FlowId> {
        super::cookie::OwnerTag(self.config.owner_tag)
            .owner(cookie)
            .filter(|owner| *owner != INFRASTRUCTURE)
    }
}

fn is_committed(answer: &Experimenter) -> bool {
    BundleControl::from_experimenter(answer)
        .is_some_and(|control| control.command == BundleCommand::COMMIT_REPLY)
}
