//! What switches and ports are called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A switch: its OpenFlow datapath id. In JSON a string, as it is displayed, because many readers of JSON
/// round integers above 2^53.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(0x)?[0-9a-fA-F]{1,16}$"))]
pub struct SwitchId(pub u64);

/// What cannot be a datapath id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a datapath id; write up to 16 hexadecimal digits, such as \"0000000000000001\""
)]
pub struct ParseSwitchIdError(String);

/// Up to sixteen hexadecimal digits, as `ovs-vsctl` shows and takes a datapath id; `0x` may lead.
impl FromStr for SwitchId {
    type Err = ParseSwitchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let hexadecimal =
            (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
            .map(SwitchId)
            .ok_or_else(|| ParseSwitchIdError(text.to_owned()))
    }
}

impl TryFrom<String> for SwitchId {
    type Error = ParseSwitchIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SwitchId> for String {
    fn from(switch: SwitchId) -> Self {
        switch.to_string()
    }
}

/// Sixteen hexadecimal digits, as `ovs-vsctl` shows a datapath id.
impl fmt::Display for SwitchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A port of a switch: its OpenFlow port number.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct PortNo(pub u32);

impl fmt::Display for PortNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port in the network and, as an egress, the directed link that begins there.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct PortRef {
    /// The switch.
    pub switch: SwitchId,
    /// The port on it.
    pub port: PortNo,
}

impl PortRef {
    /// Port `port` of switch `switch`.
    pub const fn new(switch: u64, port: u32) -> Self {
        PortRef {
            switch: SwitchId(switch),
            port: PortNo(port),
        }
    }
}

/// `0000000000000001:3`.
impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.switch, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_shown_as_datapath_and_number() {
        assert_eq!(PortRef::new(1, 3).to_string(), "0000000000000001:3");
    }
}
