//! What an operator looks at.

use std::path::PathBuf;

use clap::Args;
use payflow_qos::{BitRate, PortRef, SwitchId};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Common, Out, buy,
    client::{Call, Client, Identity},
    error::CliError,
    show,
};
use crate::{api::token::OperatorToken, config::DataDir};

/// Where the operator's token is.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// The operator's token itself.
    #[arg(long, env = "PAYFLOW_TOKEN", hide_env_values = true, value_name = "TOKEN", conflicts_with_all = ["token_file", "data_dir"])]
    token: Option<String>,
    /// The file with the operator's token.
    #[arg(
        long,
        env = "PAYFLOW_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "data_dir"
    )]
    token_file: Option<PathBuf>,
    /// The controller's data directory, where its token is; by default where the controller makes it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl TokenArgs {
    fn read(&self) -> Result<String, CliError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let path = self.token_file.clone().unwrap_or_else(|| {
            OperatorToken::path(self.data_dir.as_ref().unwrap_or(&DataDir::default().0))
        });
        OperatorToken::read_file(&path).map_err(|error| {
            CliError::Failed(format!(
                "the operator's token cannot be read from {}: {error}; say where the controller's data is with --data-dir",
                path.display()
            ))
        })
    }

    pub(super) fn client(&self, common: &Common) -> Result<Client, CliError> {
        Ok(common
            .client()?
            .with_identity(Identity::Operator(self.read()?)))
    }
}

/// `payflow forget-switch`.
#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// The datapath id, hexadecimal.
    switch: SwitchId,
    #[command(flatten)]
    token: TokenArgs,
}

/// `payflow drain` and `payflow undrain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The datapath id, hexadecimal.
    switch: SwitchId,
    /// Only the link that leaves by this port.
    #[arg(long, value_name = "NUMBER")]
    port: Option<u32>,
    #[command(flatten)]
    token: TokenArgs,
}

/// Takes links out of service, or puts them into it again.
pub(super) async fn drain(
    args: &DrainArgs,
    drained: bool,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let port = args.port.map(|port| format!("/ports/{port}"));
    let method = if drained { Method::PUT } else { Method::DELETE };
    let call = Call {
        method,
        ..Call::get(format!(
            "/v1/switches/{}{}/drain",
            args.switch,
            port.unwrap_or_default()
        ))
    };
    let document = args.token.client(common)?.call(&call).await?.document;
    out.print(&document, || {
        let list = |name: &str| {
            let ids = document.get(name).and_then(Value::as_array);
            let ids = ids.into_iter().flatten().filter_map(Value::as_str);
            ids.collect::<Vec<_>>().join(", ")
        };
        if drained {
            format!(
                "nothing new is sold there; moved: {}; staying until they end: {}",
                list("moved"),
                list("stay")
            )
        } else {
            "it is for sale again".to_owned()
        }
    })
}

/// Stops selling, or sells again.
pub(super) async fn sell(
    args: &TokenArgs,
    sells: bool,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let method = if sells { Method::DELETE } else { Method::PUT };
    let call = Call {
        method,
        ..Call::get("/v1/sales/stop")
    };
    let document = args.client(common)?.call(&call).await?.document;
    out.print(&document, || {
        match document.get("selling").and_then(Value::as_bool) {
            Some(true) => "it sells",
            _ => "nothing new is sold; what is sold is served, and open quotes can be paid",
        }
        .to_owned()
    })
}

/// Makes the controller forget the key of a switch.
pub(super) async fn forget_switch(
    args: &ForgetArgs,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let call = Call {
        method: Method::DELETE,
        ..Call::get(format!("/v1/switches/{}/key", args.switch))
    };
    let document = args.token.client(common)?.call(&call).await?.document;
    out.print(&document, || {
        format!(
            "{} is forgotten; the next key that comes with datapath id {} has it",
            cell(&document, "key"),
            args.switch
        )
    })
}

/// Switches and their ports. Anybody may see them.
pub(super) async fn switches(common: &Common, out: Out) -> Result<(), CliError> {
    let topology: Value = common.client()?.get("/v1/topology").await?;
    let switches = member(&topology, "switches");
    out.print(&switches, || {
        let mut table = vec![
            [
                "SWITCH", "OVER", "READY", "ENTRIES", "METERS", "PORT", "ROLE", "UP", "CLASSES",
                "CAPACITY",
            ]
            .map(str::to_owned),
        ];
        for switch in items(&switches) {
            for (index, port) in items(&member(switch, "ports")).enumerate() {
                let of_switch = |name: &str| {
                    if index == 0 {
                        cell(switch, name)
                    } else {
                        String::new()
                    }
                };
                table.push([
                    if index == 0 {
                        switch_name(&member(switch, "switch"))
                    } else {
                        String::new()
                    },
                    if index == 0 {
                        transport(switch)
                    } else {
                        String::new()
                    },
                    of_switch("ready"),
                    of_switch("flow_entries"),
                    of_switch("meters"),
                    format!("{} {}", cell(port, "number"), cell(port, "name")),
                    cell(port, "role"),
                    cell(port, "up"),
                    cell(port, "classes"),
                    rate(port, "capacity_bps"),
                ]);
            }
        }
        if table.len() == 1 {
            return "no switches".to_owned();
        }
        let mut text = show::columns(&table);
        let peers = items(&switches).filter_map(|switch| Some((switch, switch.get("peer")?)));
        let certified: Vec<_> = peers
            .filter(|(_, peer)| peer.get("key").is_some())
            .map(|(switch, peer)| {
                [
                    switch_name(&member(switch, "switch")),
                    cell(peer, "key"),
                    cell(peer, "subject"),
                ]
            })
            .collect();
        for switch in items(&switches) {
            for shortcoming in items(&member(switch, "shortcomings")) {
                let name = switch_name(&member(switch, "switch"));
                text.push_str(&format!("\nswitch {name}: {}", cell(shortcoming, "text")));
            }
        }
        if !certified.is_empty() {
            let head = ["SWITCH", "KEY", "CERTIFICATE"].map(str::to_owned);
            let rows: Vec<_> = std::iter::once(head).chain(certified).collect();
            text.push('\n');
            text.push_str(&show::columns(&rows));
        }
        text
    })
}

/// Directed links. Anybody may see them.
pub(super) async fn links(common: &Common, out: Out) -> Result<(), CliError> {
    let topology: Value = common.client()?.get("/v1/topology").await?;
    let links = member(&topology, "links");
    out.print(&links, || {
        let mut table =
            vec![["FROM", "TO", "CAPACITY", "CAN BE SOLD", "SOLD OR HELD"].map(str::to_owned)];
        for link in items(&links) {
            table.push([
                port_name(&member(link, "from")),
                port_name(&member(link, "to")),
                rate(link, "capacity_bps"),
                rate(link, "reservable_bps"),
                rate(link, "reserved_bps"),
            ]);
        }
        if table.len() == 1 {
            "no links".to_owned()
        } else {
            show::columns(&table)
        }
    })
}

/// Every reservation.
pub(super) async fn reservations(
    args: &TokenArgs,
    common: &Common,
    out: Out,
) -> Result<(), CliError> {
    let client = args.client(common)?;
    let views = buy::reservations(&client).await?;
    out.print(&json!({ "reservations": views }), || {
        show::reservations(&views)
    })
}

/// Hosts by address.
pub(super) async fn hosts(args: &TokenArgs, common: &Common, out: Out) -> Result<(), CliError> {
    let hosts: Vec<Value> = args.client(common)?.list("/v1/hosts", "hosts").await?;
    out.print(&hosts, || {
        let mut table = vec![["ADDRESS", "MAC", "PORT"].map(str::to_owned)];
        for host in &hosts {
            table.push([
                cell(host, "address"),
                cell(host, "mac"),
                port_name(&member(host, "port")),
            ]);
        }
        if table.len() == 1 {
            "no hosts".to_owned()
        } else {
            show::columns(&table)
        }
    })
}

fn member(document: &Value, name: &str) -> Value {
    document.get(name).cloned().unwrap_or_default()
}

fn items(document: &Value) -> impl Iterator<Item = &Value> {
    document.as_array().into_iter().flatten()
}

/// A member as people read it.
fn cell(document: &Value, name: &str) -> String {
    match document.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a switch is connected over.
fn transport(switch: &Value) -> String {
    switch
        .get("peer")
        .map_or_else(|| "-".to_owned(), |peer| cell(peer, "transport"))
}

fn rate(document: &Value, name: &str) -> String {
    let bps = document.get(name).and_then(Value::as_u64);
    bps.map_or_else(|| "-".to_owned(), |bps| BitRate(bps).to_string())
}

fn switch_name(value: &Value) -> String {
    serde_json::from_value::<payflow_qos::SwitchId>(value.clone())
        .map_or_else(|_| value.to_string(), |switch| switch.to_string())
}

fn port_name(value: &Value) -> String {
    serde_json::from_value::<PortRef>(value.clone())
        .map_or_else(|_| "-".to_owned(), |port| port.to_string())
}
