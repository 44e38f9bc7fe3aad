//! Answers to questions.

use rust_openflow::{
    ErrorCode, MultipartReplyBody, MultipartRequestBody, PortNo, QueueId, QueueStats, SwitchDesc,
};

use super::MemorySwitch;
use super::flow_table::Selection;
use super::groups::Groups;
use super::meters::Meters;

impl MemorySwitch {
    /// The whole answer.
    pub(super) fn answer(
        &self,
        question: &MultipartRequestBody,
    ) -> Result<MultipartReplyBody, ErrorCode> {
        Ok(match question {
            MultipartRequestBody::Desc => MultipartReplyBody::Desc(Box::new(self.description())),
            MultipartRequestBody::Flow(filter) => {
                let selection = Selection::asked(filter)?;
                let flows = self.tables.stats(&selection, self.now);
                MultipartReplyBody::Flow(flows)
            }
            MultipartRequestBody::Aggregate(filter) => {
                let selection = Selection::asked(filter)?;
                MultipartReplyBody::Aggregate(self.tables.aggregate(&selection))
            }
            MultipartRequestBody::Table => MultipartReplyBody::Table(self.tables.table_stats()),
            MultipartRequestBody::PortStats(PortNo::ANY) => {
                let stats = self.ports.values().map(|entry| entry.stats(self.now));
                MultipartReplyBody::PortStats(stats.collect())
            }
            MultipartRequestBody::PortStats(port) => {
                let stats = self.ports.get(port).map(|entry| entry.stats(self.now));
                MultipartReplyBody::PortStats(stats.into_iter().collect())
            }
            MultipartRequestBody::Queue { port_no, queue_id } => {
                self.queue_stats(*port_no, *queue_id)?
            }
            MultipartRequestBody::Meter(meter) => {
                let users = |meter| self.tables.users_of(meter);
                let stats = self.meters.stats(*meter, self.now, users)?;
                MultipartReplyBody::Meter(stats)
            }
            MultipartRequestBody::MeterConfig(meter) => {
                let configs = self.meters.configs(*meter)?;
                MultipartReplyBody::MeterConfig(configs)
            }
            MultipartRequestBody::MeterFeatures => {
                MultipartReplyBody::MeterFeatures(Meters::features(self.settings.max_meters))
            }
            MultipartRequestBody::PortDesc => {
                let ports = self.ports.values().map(|entry| entry.port.clone());
                MultipartReplyBody::PortDesc(ports.collect())
            }
            MultipartRequestBody::Group(group) => {
                let references = |group| self.tables.references_to(group);
                let stats = self.groups.stats(*group, self.now, references);
                MultipartReplyBody::Group(stats)
            }
            MultipartRequestBody::GroupDesc => {
                let groups = self.groups.all().cloned().collect();
                MultipartReplyBody::GroupDesc(groups)
            }
            MultipartRequestBody::GroupFeatures => {
                MultipartReplyBody::GroupFeatures(Groups::features(self.settings.max_groups))
            }
            _ => return Err(ErrorCode::BAD_MULTIPART),
        })
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
    ) -> Result<MultipartReplyBody, ErrorCode> {
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
        Ok(MultipartReplyBody::Queue(stats))
    }
}
