//! What a switch must have for something to be sold across it, and what the operator does about what it lacks.

use payflow_qos::SwitchId;
use rust_openflow::{BandType, MeterCapabilities, MeterFeatures};
use tracing::{info, warn};

use super::{BridgeFacts, Network, Shortcoming};

/// What meters need: rates in kbit/s for flows, in packets/s for what goes to the controller, and bursts.
const CAPABILITIES: [(MeterCapabilities, &str); 3] = [
    (MeterCapabilities::KBPS, "rates in kbit/s"),
    (MeterCapabilities::PKTPS, "rates in packets/s"),
    (MeterCapabilities::BURST, "burst sizes"),
];

/// What is known of how fit a switch is; nothing known is nothing wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fitness {
    /// As its database says.
    pub(super) bridge: Option<BridgeFacts>,
    /// What its meters lack, as it says itself.
    pub(super) meters: Option<String>,
    /// Why it refuses an entry or a meter that is wanted for all reservations.
    pub(super) refusal: Option<String>,
}

impl Fitness {
    /// What should be mended.
    pub(super) fn shortcomings(&self) -> Vec<Shortcoming> {
        let mut found = Vec::new();
        if let Some(lacks) = &self.meters {
            found.push(Shortcoming {
                unsellable: true,
                text: format!(
                    "nothing is sold across it, because {lacks}; with Open vSwitch on Linux the kernel must be 4.18 or \
                     newer, or the bridge's datapath_type netdev"
                ),
            });
        }
        if let Some(reason) = &self.refusal {
            found.push(Shortcoming {
                unsellable: false,
                text: format!(
                    "it refuses entries that keep hosts apart or serve them ({reason}), so that some are not served; \
                     `ovs-ofctl dump-table-features` and `ovs-vsctl list Flow_Table` show how many it takes"
                ),
            });
        }
        if let Some(BridgeFacts {
            name,
            secure,
            fixed_datapath_id,
        }) = &self.bridge
        {
            if !secure {
                found.push(Shortcoming {
                    unsellable: true,
                    text: format!(
                        "nothing is sold across it, because bridge {name} drops all its entries when no controller is \
                         there; `ovs-vsctl set-fail-mode {name} secure` makes it keep them"
                    ),
                });
            }
            if !fixed_datapath_id {
                found.push(Shortcoming {
                    unsellable: false,
                    text: format!(
                        "bridge {name} gets another datapath id, and is another switch, when it is made again; \
                         `ovs-vsctl set bridge {name} other-config:datapath-id=...` (16 hexadecimal digits) keeps it"
                    ),
                });
            }
        }
        found
    }
}

/// What the meters lack that a switch describes (`OFPMP_METER_FEATURES`); it answers with an error when it has none.
pub(super) fn lacking_of_meters(features: Option<&MeterFeatures>) -> Option<String> {
    let Some(features) = features.filter(|features| features.max_meter > 0) else {
        return Some("it has no meters".to_owned());
    };
    if features.band_types & 1 << BandType::DROP.0 == 0 {
        return Some("its meters cannot drop packets".to_owned());
    }
    let lacking: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(needed, _)| !features.capabilities.contains(*needed))
        .map(|(_, name)| *name)
        .collect();
    (!lacking.is_empty()).then(|| format!("its meters know no {}", lacking.join(", no ")))
}

impl Network {
    /// Whether capacity of this switch may be sold.
    pub(super) fn is_fit(&self, switch: SwitchId) -> bool {
        self.fitness
            .get(&switch)
            .is_none_or(|fitness| !fitness.shortcomings().iter().any(|it| it.unsellable))
    }

    /// The database of a switch has said, or says no longer, how it is configured.
    pub(super) fn bridge_facts(&mut self, switch: SwitchId, facts: Option<BridgeFacts>) {
        self.assess(switch, |fitness| fitness.bridge = facts);
    }

    /// A switch has described its meters, or has none.
    pub(super) fn meters_described(&mut self, switch: SwitchId, features: Option<&MeterFeatures>) {
        let lacking = lacking_of_meters(features);
        self.assess(switch, |fitness| fitness.meters = lacking);
    }

    /// A switch has refused what is wanted for all reservations, or has taken it all.
    pub(super) fn infrastructure_refused(&mut self, switch: SwitchId, reason: Option<String>) {
        let known = self.fitness.get(&switch).and_then(|it| it.refusal.as_ref());
        if known.is_some() != reason.is_some() {
            self.assess(switch, |fitness| fitness.refusal = reason);
        }
    }

    /// Says what is new, and offers the capacity of all its ports, or offers it no more.
    fn assess(&mut self, switch: SwitchId, change: impl FnOnce(&mut Fitness)) {
        let was_fit = self.is_fit(switch);
        let fitness = self.fitness.entry(switch).or_default();
        let before = fitness.shortcomings();
        change(fitness);
        let after = fitness.shortcomings();
        for new in after.iter().filter(|it| !before.contains(it)) {
            warn!(%switch, "{}", new.text);
        }
        if after.is_empty() && !before.is_empty() {
            info!(%switch, "the switch has all it needs now");
        }
        if was_fit != self.is_fit(switch) {
            self.order_all_classes(switch, self.now);
        }
    }
}
