//! Answers to questions, cut into parts.

use rust_openflow::{
    ErrorCode, Message, MultipartFlags, MultipartReply, MultipartReplyBody, MultipartRequestBody,
    PortNo, QueueId, QueueStats, SwitchDesc,
};

use super::MemorySwitch;
use super::flow_table::Selection;
use super::groups::Groups;
use super::meters::Meters;

/// Longest part of an answer, in bytes: what Open vSwitch sends at most.
const MAX_PART_LEN: usize = 65_488;

impl MemorySwitch {
    /// Every part of the answer.
    pub(super) fn answer(
        &self,
        question: &MultipartRequestBody,
    ) -> Result<Vec<MultipartReply>, ErrorCode> {
        let whole = match question {
            MultipartRequestBody::Desc => MultipartReplyBody::Desc(Box::new(self.description())),
            MultipartRequestBody::Flow(filter) => {
                let selection = Selection::asked(filter)?;
                let flows = self.tables.stats(&selection, self.now);
                return Ok(parts(flows, MultipartReplyBody::Flow));
            }
            MultipartRequestBody::Aggregate(filter) => {
                let selection = Selection::asked(filter)?;
                MultipartReplyBody::Aggregate(self.tables.aggregate(&selection))
            }
            MultipartRequestBody::Table => MultipartReplyBody::Table(self.tables.table_stats()),
            MultipartRequestBody::PortStats(PortNo::ANY) => {
                let stats = self.ports.values().map(|entry| entry.stats(self.now));
                return Ok(parts(stats.collect(), MultipartReplyBody::PortStats));
            }
            MultipartRequestBody::PortStats(port) => {
                let stats = self.ports.get(port).map(|entry| entry.stats(self.now));
                MultipartReplyBody::PortStats(stats.into_iter().collect())
            }
            MultipartRequestBody::Queue { port_no, queue_id } => {
                return self.queue_stats(*port_no, *queue_id);
            }
            MultipartRequestBody::Meter(meter) => {
                let users = |meter| self.tables.users_of(meter);
                let stats = self.meters.stats(*meter, self.now, users)?;
                return Ok(parts(stats, MultipartReplyBody::Meter));
            }
            MultipartRequestBody::MeterConfig(meter) => {
                let configs = self.meters.configs(*meter)?;
                return Ok(parts(configs, MultipartReplyBody::MeterConfig));
            }
            MultipartRequestBody::MeterFeatures => {
                MultipartReplyBody::MeterFeatures(Meters::features(self.settings.max_meters))
            }
            MultipartRequestBody::PortDesc => {
                let ports = self.ports.values().map(|entry| entry.port.clone());
                return Ok(parts(ports.collect(), MultipartReplyBody::PortDesc));
            }
            MultipartRequestBody::Group(group) => {
                let references = |group| self.tables.references_to(group);
                let stats = self.groups.stats(*group, self.now, references);
                return Ok(parts(stats, MultipartReplyBody::Group));
            }
            MultipartRequestBody::GroupDesc => {
                let groups = self.groups.all().cloned().collect();
                return Ok(parts(groups, MultipartReplyBody::GroupDesc));
            }
            MultipartRequestBody::GroupFeatures => {
                MultipartReplyBody::GroupFeatures(Groups::features(self.settings.max_groups))
            }
            _ => return Err(ErrorCode::BAD_MULTIPART),
        };
        Ok(vec![last(whole)])
    }

    fn description(&self) -> SwitchDesc {
        SwitchDesc {
            manufacturer: "PayFlow".to_owned(),
            hardware: "in-memory switch".to_owned(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            serial_number: "None".to_owned(),
            datapath: self.settings.name.clone(),
        }
    }

    /// Queues exist; their packets are not counted.
    fn queue_stats(
        &self,
        port_no: PortNo,
        queue_id: QueueId,
    ) -> Result<Vec<MultipartReply>, ErrorCode> {
        if port_no != PortNo::ANY && !self.ports.contains_key(&port_no) {
            return Err(ErrorCode::QUEUE_BAD_PORT);
        }
        let asked = self.queues.iter().filter(|(port, queue)| {
            (port_no == PortNo::ANY || *port == port_no)
                && (queue_id == QueueId::ALL || *queue == queue_id)
        });
        let stats = asked.map(|(port_no, queue_id)| QueueStats {
            port_no: *port_no,
            queue_id: *queue_id,
            tx_bytes: u64::MAX,
            tx_packets: u64::MAX,
            tx_errors: u64::MAX,
            duration_sec: u32::MAX,
            duration_nsec: u32::MAX,
        });
        let stats: Vec<_> = stats.collect();
        if stats.is_empty() && queue_id != QueueId::ALL {
            return Err(ErrorCode::QUEUE_BAD_QUEUE);
        }
        Ok(parts(stats, MultipartReplyBody::Queue))
    }
}

fn last(body: MultipartReplyBody) -> MultipartReply {
    MultipartReply {
        flags: MultipartFlags::NONE,
        body,
    }
}

/// Halves a list until every part fits; all but the last part say that more follow.
fn parts<T: Clone>(items: Vec<T>, wrap: fn(Vec<T>) -> MultipartReplyBody) -> Vec<MultipartReply> {
    let mut bodies = Vec::new();
    let mut waiting = vec![items];
    while let Some(mut items) = waiting.pop() {
        let body = wrap(items.clone());
        if items.len() < 2 || fits(&body) {
            bodies.push(last(body));
        } else {
            waiting.push(items.split_off(items.len() / 2));
            waiting.push(items);
        }
    }
    if let Some((_, more)) = bodies.split_last_mut() {
        more.iter_mut()
            .for_each(|part| part.flags = MultipartFlags::MORE);
    }
    bodies
}

fn fits(body: &MultipartReplyBody) -> bool {
    let mut bytes = Vec::new();
    let message = Message::from(last(body.clone()));
    message.encode(0, &mut bytes).is_ok() && bytes.len() <= MAX_PART_LEN
}
