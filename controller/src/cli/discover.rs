//! Where the controller is, for who has not said it: what DHCP has told this host, this machine itself, or the default gateway.
//!
//! | by | what is read |
//! |---|---|
//! | DHCP, option 224 | what `systemd-networkd` keeps of its leases, what ISC `dhclient` does, and `/run/payflow/dhcp`, where a script of any other client puts it |
//! | this machine | `http://127.0.0.1:8080`, if a controller answers there |
//! | the default gateway | `/.well-known/payflow` there, at port 8080 and at port 80 |
//!
//! Option 224 is one that every site may use as it likes (RFC 3942). Its value is text: the API's URL, and after a space the
//! operator's key, which is then the only one that is believed. Whoever can answer DHCP requests on a network can name another
//! controller: who must not be fooled says `--operator-key`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use payflow_payment::PublicKey;
use serde::Serialize;

use super::client::{Client, check_base};

/// The option's number.
const OPTION: u8 = 224;
/// Where the API is on this machine.
const HERE: &str = "http://127.0.0.1:8080";
/// Where a gateway is asked.
const PORTS: [u16; 2] = [8080, 80];
/// How long somebody may take to answer who was not named.
const PROBE: Duration = Duration::from_secs(1);
/// No lease is larger.
const MOST_BYTES: u64 = 1 << 20;

/// A controller, and who has told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// The API.
    pub(super) api: String,
    /// Whose signatures are believed, where that was told with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operator_key: Option<PublicKey>,
    /// `option`, `dhcp`, `this machine`, `gateway` or `default`.
    pub(super) by: &'static str,
}

impl Found {
    /// For people.
    pub(super) fn text(&self) -> String {
        let key = self.operator_key.as_ref();
        let key = key.map(|it| format!(", operator {it}")).unwrap_or_default();
        let by = match self.by {
            "default" => "nobody has told, and nobody answers there",
            "gateway" => "it answers at the default gateway",
            "this machine" => "it answers on this machine",
            "dhcp" => "told by DHCP",
            _ => "as was said",
        };
        format!("{}{key} ({by})", self.api)
    }
}

/// Looks in all places, in their order. Where nobody is found, this machine is what is meant.
pub(super) async fn find() -> Found {
    let root = Path::new("/");
    if let Some(found) = from_leases(root) {
        return found;
    }
    let at = |api: &str, by| Found {
        api: api.to_owned(),
        operator_key: None,
        by,
    };
    if is_controller(HERE).await {
        return at(HERE, "this machine");
    }
    for gateway in gateways(root) {
        let asked = PORTS.map(|port| async move {
            let api = match gateway {
                IpAddr::V4(v4) => format!("http://{v4}:{port}"),
                IpAddr::V6(v6) => format!("http://[{v6}]:{port}"),
            };
            is_controller(&api).await.then_some(api)
        });
        if let Some(api) = futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .next()
        {
            return at(&api, "gateway");
        }
    }
    at(HERE, "default")
}

async fn is_controller(api: &str) -> bool {
    let Ok(client) = Client::new(api) else {
        return false;
    };
    let asked = tokio::time::timeout(PROBE, client.well_known()).await;
    matches!(asked, Ok(Ok(_)))
}

/// What DHCP has told, below this directory.
fn from_leases(root: &Path) -> Option<Found> {
    let mut values: Vec<String> = read(&root.join("run/payflow/dhcp")).into_iter().collect();
    let mut of =
        |directory: &str, is_lease: fn(&str) -> bool, value: fn(&str) -> Option<String>| {
            for file in files(&root.join(directory)) {
                let name = file.file_name().map(|it| it.to_string_lossy().into_owned());
                if name.is_some_and(|it| is_lease(&it)) {
                    values.extend(read(&file).as_deref().and_then(value));
                }
            }
        };
    of("run/systemd/netif/leases", |_| true, networkd);
    for directory in ["var/lib/dhcp", "var/lib/dhclient", "var/lib/NetworkManager"] {
        of(
            directory,
            |name| name.starts_with("dhclient") && name.contains(".lease"),
            dhclient,
        );
    }
    values.iter().find_map(|it| parse(it))
}

/// `http://10.0.0.254:8080`, and perhaps a space and the operator's key.
fn parse(value: &str) -> Option<Found> {
    let mut words = value.split_whitespace();
    let api = words.next()?;
    check_base(api).ok()?;
    let operator_key = match words.next() {
        Some(word) => Some(word.parse().ok()?),
        None => None,
    };
    words.next().is_none().then(|| Found {
        api: api.trim_end_matches('/').to_owned(),
        operator_key,
        by: "dhcp",
    })
}

/// `OPTION_224=68747470...` (`sd-dhcp-lease`, private options).
fn networkd(lease: &str) -> Option<String> {
    let name = format!("OPTION_{OPTION}=");
    let value = lease.lines().find_map(|line| line.strip_prefix(&name))?;
    text(hex::decode(value.trim()).ok()?)
}

/// `option payflow "http://...";` where `dhclient.conf` says what it is, else `option unknown-224 68:74:...` or a text
/// (`dhclient.leases(5)`). The last lease in the file is the newest.
fn dhclient(leases: &str) -> Option<String> {
    let names = [
        "option payflow ".to_owned(),
        format!("option unknown-{OPTION} "),
    ];
    let of_line = |line: &str| {
        let value = names
            .iter()
            .find_map(|name| line.trim().strip_prefix(name.as_str()))?
            .trim_end_matches(';')
            .trim();
        match value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
            Some(quoted) => Some(quoted.to_owned()),
            None => {
                let bytes = value.split(':').map(|it| u8::from_str_radix(it, 16).ok());
                text(bytes.collect::<Option<Vec<_>>>()?)
            }
        }
    };
    leases.lines().rev().find_map(of_line)
}

fn text(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    // Some servers end texts with a zero byte.
    Some(text.trim_end_matches('\0').to_owned())
}

/// The default gateways, IPv4 first.
fn gateways(root: &Path) -> Vec<IpAddr> {
    let v4 = read(&root.join("proc/net/route")).unwrap_or_default();
    let v6 = read(&root.join("proc/net/ipv6_route")).unwrap_or_default();
    let v4 = v4.lines().filter_map(gateway_v4).map(IpAddr::V4);
    // One of the link alone would need its interface with it.
    let v6 = v6
        .lines()
        .filter_map(gateway_v6)
        .filter(|it| !it.is_unicast_link_local());
    v4.chain(v6.map(IpAddr::V6)).collect()
}

/// `eth0 00000000 FE00000A 0003 ...`: destination and gateway as the machine keeps them, and flags, of which 2 says that it is one.
fn gateway_v4(line: &str) -> Option<Ipv4Addr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "00000000", gateway, flags, ..] = fields.as_slice() else {
        return None;
    };
    let is_gateway = u16::from_str_radix(flags, 16).ok()? & 2 != 0;
    let gateway = u32::from_str_radix(gateway, 16).ok()?;
    is_gateway.then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
}

/// Destination and the length of its prefix, the same of the source, and the gateway.
fn gateway_v6(line: &str) -> Option<Ipv6Addr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, "00", _, _, gateway, ..] = fields.as_slice() else {
        return None;
    };
    let is_default = u128::from_str_radix(destination, 16).ok()? == 0;
    let gateway = u128::from_str_radix(gateway, 16).ok()?;
    (is_default && gateway != 0).then(|| Ipv6Addr::from(gateway))
}

/// By name, so that it is the same every time.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|it| it.path())
        .filter(|it| it.is_file())
        .collect();
    files.sort();
    files
}

/// What is not there, or cannot be read by this user, tells nothing.
fn read(file: &Path) -> Option<String> {
    let small = file.metadata().ok()?.len() <= MOST_BYTES;
    small.then(|| fs::read_to_string(file).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

    fn told(api: &str, key: Option<&str>) -> Option<Found> {
        Some(Found {
            api: api.to_owned(),
            operator_key: key.map(|it| it.parse().unwrap()),
            by: "dhcp",
        })
    }

    #[test]
    fn what_networkd_keeps_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let leases = dir.path().join("run/systemd/netif/leases");
        fs::create_dir_all(&leases).unwrap();
        fs::write(leases.join("2"), "ADDRESS=192.0.2.7\nROUTER=192.0.2.1\n").unwrap();
        assert_eq!(from_leases(dir.path()), None);
        let value = hex::encode(format!("http://10.0.0.254:8080 {KEY}"));
        let lease = format!("ADDRESS=10.0.0.1\nOPTION_224={value}\n");
        fs::write(leases.join("3"), lease).unwrap();
        let found = from_leases(dir.path());
        assert_eq!(found, told("http://10.0.0.254:8080", Some(KEY)));
    }

    #[test]
    fn the_newest_lease_of_dhclient_is_read_with_its_name_and_without() {
        let old = "lease {\n  option payflow \"http://10.0.0.9:8080\";\n}\n";
        let named = format!("{old}lease {{\n  option payflow \"http://10.0.0.254:8080/\";\n}}\n");
        assert_eq!(dhclient(&named).as_deref(), Some("http://10.0.0.254:8080/"));
        let bytes: Vec<_> = "http://x:1".bytes().map(|it| format!("{it:x}")).collect();
        let unnamed = format!("lease {{\n  option unknown-224 {};\n}}\n", bytes.join(":"));
        assert_eq!(dhclient(&unnamed).as_deref(), Some("http://x:1"));
        assert_eq!(dhclient("lease {\n  option routers 10.0.0.1;\n}\n"), None);
    }

    #[test]
    fn a_value_that_is_none_is_passed_over() {
        for wrong in [
            "",
            "10.0.0.254:8080",
            "ftp://x",
            "http://x:1 not-a-key",
            &format!("http://x:1 {KEY} more"),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse("http://x:1/ \n"), told("http://x:1", None));
    }

    #[test]
    fn default_routes_lead_to_gateways_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        let v4 = u32::from_ne_bytes([10, 0, 0, 254]);
        let route = format!(
            "Iface\tDestination\tGateway\tFlags\neth0\t0000000A\t00000000\t0001\neth1\t00000000\t{v4:08X}\t0003\n\
             tun0\t00000000\t00000000\t0001\n"
        );
        fs::write(dir.path().join("proc/net/route"), route).unwrap();
        let zero = "0".repeat(32);
        let v6 = |gateway: &str| format!("{zero} 00 {zero} 00 {gateway} 00000400 1 0 0003 eth0\n");
        let routes =
            v6("fe800000000000000000000000000001") + &v6("20010db8000000000000000000000001");
        fs::write(dir.path().join("proc/net/ipv6_route"), routes + &v6(&zero)).unwrap();
        let expected: [IpAddr; 2] = [
            "10.0.0.254".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
        ];
        assert_eq!(gateways(dir.path()), expected);
    }
}
