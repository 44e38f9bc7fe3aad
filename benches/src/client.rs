//! The controller's end of an OpenFlow connection, without any policy: it asks a switch what it holds, and pours messages
//! that were made before into it as fast as it takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rust_openflow::{
    BundleCommand, BundleControl, BundleFlags, EncodeError, FlowEntry, FlowFilter, FlowStats,
    Input, Instruction, Message, MeterCommand, MeterConfig, MeterId, MeterMod, MultipartFlags,
    MultipartReplyBody, MultipartRequest, MultipartRequestBody, Output, SessionConfig,
    SwitchSession, bundle_add,
};

/// Cookies of reservations: owner tag (8 bits), number (40 bits, 0 for everything else), generation (16 bits).
const OWNER: u64 = 0x50 << 56;
const OWNER_MASK: u64 = 0xff << 56;
const RESERVATION_MASK: u64 = 0xff_ffff_ffff << 16;
/// Meters of reservations have numbers from here on.
const FIRST_METER: MeterId = MeterId(0x1_0000);
/// Transaction ids of what is poured; sessions count from 1 and do not come so far.
const POURED: u32 = 0x4000_0000;

/// Entries in a bundle, as many as the controller puts into one.
const BUNDLE: usize = 512;

/// Connected to a switch that has said who it is.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    session: SwitchSession,
    born: Instant,
    buffer: Vec<u8>,
}

/// What a switch holds of reservations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    /// Meters by number.
    pub meters: BTreeMap<MeterId, MeterConfig>,
    /// Flow entries without counters and hard time-outs, which grow shorter as time goes by.
    pub entries: BTreeSet<FlowEntry>,
    /// The longest hard time-out, in seconds.
    pub timeout_s: u16,
}

/// What came of pouring.
#[derive(Clone, Copy, Debug)]
pub struct Poured {
    /// From the first byte to the answer to the barrier behind the last.
    pub took: Duration,
    /// What the switch refused.
    pub errors: usize,
}

impl Sold {
    /// The messages that make a switch hold this, as bytes: meters, a barrier, entries, in atomic bundles if they are to be.
    ///
    /// # Errors
    /// None for what a switch has told.
    pub fn messages(&self, bundled: bool) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = Vec::new();
        for meter in self.meters.values() {
            add_meter(meter).encode(POURED, &mut bytes)?;
        }
        Message::BarrierRequest.encode(POURED, &mut bytes)?;
        let adds = self
            .entries
            .iter()
            .map(|entry| Message::FlowMod(entry.to_add().hard_timeout_s(self.timeout_s)));
        if !bundled {
            for add in adds {
                add.encode(POURED, &mut bytes)?;
            }
            return Ok(bytes);
        }
        let adds: Vec<_> = adds.collect();
        let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
        for (bundle_id, adds) in (1..).zip(adds.chunks(BUNDLE)) {
            let control = |command| BundleControl {
                bundle_id,
                command,
                flags,
            };
            let open = control(BundleCommand::OPEN_REQUEST).to_message();
            open.encode(POURED, &mut bytes)?;
            for add in adds {
                bundle_add(bundle_id, flags, POURED, add)?.encode(POURED, &mut bytes)?;
            }
            let commit = control(BundleCommand::COMMIT_REQUEST).to_message();
            commit.encode(POURED, &mut bytes)?;
        }
        Ok(bytes)
    }
}

/// Half a round: what goes into a switch before a barrier.
type Half = Vec<u8>;

impl Sold {
    /// The messages that make a switch hold this, in rounds of some reservations, each in two halves as a purchase needs them:
    /// meters, and entries of flows that do not begin here; then entries of flows that do, which use meters.
    ///
    /// # Errors
    /// None for what a switch has told.
    pub fn rounds(&self, reservations: usize) -> Result<Vec<[Half; 2]>, EncodeError> {
        let mut by_reservation: BTreeMap<u64, Vec<&FlowEntry>> = BTreeMap::new();
        for entry in &self.entries {
            let number = entry.cookie & RESERVATION_MASK;
            by_reservation.entry(number).or_default().push(entry);
        }
        let entries: Vec<_> = by_reservation.into_values().collect();
        let mut rounds = Vec::new();
        for entries in entries.chunks(reservations.max(1)) {
            let [mut first, mut second] = [Vec::new(), Vec::new()];
            for entry in entries.iter().flatten() {
                let meter = entry.instructions.iter().find_map(|it| match it {
                    Instruction::Meter(id) => self.meters.get(id),
                    _ => None,
                });
                if let Some(meter) = meter {
                    add_meter(meter).encode(POURED, &mut first)?;
                }
                let add = Message::FlowMod(entry.to_add().hard_timeout_s(self.timeout_s));
                let half = if meter.is_some() {
                    &mut second
                } else {
                    &mut first
                };
                add.encode(POURED, half)?;
            }
            rounds.push([first, second]);
        }
        Ok(rounds)
    }
}

fn add_meter(meter: &MeterConfig) -> Message {
    Message::MeterMod(MeterMod {
        command: MeterCommand::ADD,
        flags: meter.flags,
        meter_id: meter.meter_id,
        bands: meter.bands.clone(),
    })
}

impl<S: Read + Write> Client<S> {
    /// Takes a connection, and waits until the switch has said who it is. Reads should time out.
    ///
    /// # Errors
    /// The switch says nothing, or what is no OpenFlow 1.3.
    pub fn greet(stream: S) -> anyhow::Result<Self> {
        let mut client = Self {
            stream,
            session: SwitchSession::new(SessionConfig::default()),
            born: Instant::now(),
            buffer: vec![0; 1 << 16],
        };
        client.session.handle(Input::Connected, Duration::ZERO);
        client.until(|output| matches!(output, Output::Up(_)).then_some(()))?;
        Ok(client)
    }

    /// The switch's datapath id.
    #[must_use]
    pub fn datapath_id(&self) -> u64 {
        self.session.features().map_or(0, |it| it.datapath_id.0)
    }

    /// How many flow entries the switch holds for reservations.
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn count_sold(&mut self) -> anyhow::Result<u64> {
        let mut count = |mask| {
            let filter = FlowFilter::by_cookie(OWNER, mask);
            match self.ask(MultipartRequestBody::Aggregate(filter))? {
                MultipartReplyBody::Aggregate(stats) => Ok(u64::from(stats.flow_count)),
                other => bail!("{other:?} was not asked for"),
            }
        };
        let (ours, infrastructure) = (count(OWNER_MASK)?, count(OWNER_MASK | RESERVATION_MASK)?);
        Ok(ours.saturating_sub(infrastructure))
    }

    /// Everything that the switch holds for reservations.
    ///
    /// # Errors
    /// The switch does not answer.
    pub fn sold(&mut self) -> anyhow::Result<Sold> {
        let mut sold = Sold::default();
        match self.ask(MultipartRequestBody::MeterConfig(MeterId::ALL))? {
            MultipartReplyBody::MeterConfig(meters) => {
                let meters = meters.into_iter().map(|meter| (meter.meter_id, meter));
                sold.meters = meters.filter(|(id, _)| *id >= FIRST_METER).collect();
            }
            other => bail!("{other:?} was not asked for"),
        }
        let filter = FlowFilter::by_cookie(OWNER, OWNER_MASK);
        match self.ask(MultipartRequestBody::Flow(filter))? {
            MultipartReplyBody::Flow(flows) => {
                for flow in flows
                    .iter()
                    .filter(|flow| flow.cookie & RESERVATION_MASK != 0)
                {
                    sold.timeout_s = sold.timeout_s.max(flow.hard_timeout_s);
                    sold.entries.insert(lasting(flow));
                }
            }
            other => bail!("{other:?} was not asked for"),
        }
        Ok(sold)
    }

    /// Pours messages into the switch, with a barrier behind them.
    ///
    /// # Errors
    /// The connection fails.
    pub fn pour(&mut self, messages: &[u8]) -> anyhow::Result<Poured> {
        let begun = Instant::now();
        self.stream.write_all(messages)?;
        let barrier = self.request(&Message::BarrierRequest)?;
        let mut errors = 0;
        self.until(|output| match output {
            Output::Error { .. } => {
                errors += 1;
                None
            }
            Output::BarrierReply { xid } => (xid == barrier).then_some(()),
            _ => None,
        })?;
        Ok(Poured {
            took: begun.elapsed(),
            errors,
        })
    }

    fn ask(&mut self, body: MultipartRequestBody) -> anyhow::Result<MultipartReplyBody> {
        let request = MultipartRequest {
            flags: MultipartFlags::default(),
            body,
        };
        let asked = self.request(&Message::MultipartRequest(request))?;
        self.until(|output| match output {
            Output::MultipartDone { xid, body } if xid == asked => Some(Ok(body)),
            Output::RequestFailed { xid, error } if xid == asked => Some(Err(error.to_string())),
            Output::Error { xid, error } if xid == asked => Some(Err(error.to_string())),
            _ => None,
        })?
        .map_err(anyhow::Error::msg)
    }

    fn request(&mut self, message: &Message) -> anyhow::Result<u32> {
        Ok(self.session.request(message, self.born.elapsed())?)
    }

    /// Talks until `find` finds what was awaited.
    fn until<T>(&mut self, mut find: impl FnMut(Output) -> Option<T>) -> anyhow::Result<T> {
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Send(bytes) => self.stream.write_all(&bytes)?,
                    Output::Down(reason) => bail!("the switch is gone: {reason}"),
                    other => {
                        if let Some(found) = find(other) {
                            return Ok(found);
                        }
                    }
                }
            }
            let count = self.stream.read(&mut self.buffer);
            let count = count.context("the switch does not answer")?;
            let bytes = self.buffer.get(..count).unwrap_or_default();
            let input = if bytes.is_empty() {
                Input::Closed
            } else {
                Input::Received(bytes)
            };
            self.session.handle(input, self.born.elapsed());
        }
    }
}

fn lasting(flow: &FlowStats) -> FlowEntry {
    FlowEntry {
        hard_timeout_s: 0,
        ..flow.entry()
    }
}
