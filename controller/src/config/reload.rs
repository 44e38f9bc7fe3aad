//! Which changes of a configuration a running controller can follow.

use super::{Config, NetworkOptions, PortConfig};

/// A new configuration over a running one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// What is right from now on: the new one as far as it can be followed, the running one in the rest.
    pub config: Config,
    /// What changes now.
    pub followed: Vec<&'static str>,
    /// What has changed in the file and stays as it is until the controller is started again.
    pub kept: Vec<&'static str>,
}

impl Config {
    /// What becomes of this configuration when the file says `wanted`.
    ///
    /// Prices, terms of quotes, receipts, the enrolled, operators, the API's certificate, shares and the level of the log can be
    /// followed. Whatever is listened on, connected to, or laid down in switches, cannot.
    #[must_use]
    pub fn reloaded(&self, wanted: &Self) -> Reload {
        // All fields by name, so that none is forgotten.
        let Self {
            data_dir,
            // Was read at the start, and is not asked for again.
            operator_passphrase: _,
            openflow,
            http,
            camara,
            api_port,
            ovsdb,
            ledger,
            prices,
            quotes,
            receipts,
            network,
            log,
            switches,
            ports,
            enrolled,
            operators,
        } = wanted;
        let mut config = self.clone();
        let mut followed = Vec::new();
        let mut kept = Vec::new();
        let mut follow = |key, running: bool| {
            if !running {
                followed.push(key);
            }
        };
        follow("prices", self.prices == *prices);
        follow("quotes", self.quotes == *quotes);
        follow("receipts", self.receipts == *receipts);
        follow("enrolled", self.enrolled == *enrolled);
        follow("log.level", self.log.level == log.level);
        follow(
            "network.share_per_mille",
            self.network.share == network.share,
        );
        follow("operator", self.operators == *operators);
        // Another certificate can be shown; whether one is shown at all is a matter of what is listened on.
        if self.http.tls.is_some() && http.tls.is_some() {
            config.http.tls.clone_from(&http.tls);
        }
        follow("http.tls", self.http.tls == config.http.tls);
        config.operators.clone_from(operators);
        config.prices.clone_from(prices);
        config.quotes.clone_from(quotes);
        config.receipts = *receipts;
        config.enrolled.clone_from(enrolled);
        config.log.level.clone_from(&log.level);
        config.network.share = network.share;
        for port in &mut config.ports {
            let new = ports
                .iter()
                .find(|it| it.switch == port.switch && it.name == port.name);
            port.share = new.map_or(port.share, |it| it.share);
        }
        follow("port.share_per_mille", self.ports == config.ports);

        let mut keep = |key, running: bool| {
            if !running {
                kept.push(key);
            }
        };
        keep("data_dir", self.data_dir == *data_dir);
        keep("openflow", self.openflow == *openflow);
        keep("http", config.http == *http);
        keep("camara", self.camara == *camara);
        keep("api_port", self.api_port == *api_port);
        keep("ovsdb", self.ovsdb == *ovsdb);
        keep("ledger", self.ledger == *ledger);
        keep("log.format", self.log.format == log.format);
        keep("switch", self.switches == *switches);
        let NetworkOptions {
            discover_trunks,
            share: _,
        } = network;
        keep(
            "network.discover_trunks",
            self.network.discover_trunks == *discover_trunks,
        );
        let facts = |ports: &[PortConfig]| -> Vec<PortConfig> {
            let without = |it: &PortConfig| PortConfig {
                share: None,
                ..it.clone()
            };
            ports.iter().map(without).collect()
        };
        keep("port", facts(&self.ports) == facts(ports));
        Reload {
            config,
            followed,
            kept,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PORT: &str = "[[port]]\nswitch = \"1\"\nname = \"s1-eth1\"\n";

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap()
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let running = config(PORT);
        let reload = running.reloaded(&running.clone());
        assert_eq!(reload.config, running);
        assert!(reload.followed.is_empty() && reload.kept.is_empty());
    }

    #[test]
    fn prices_limits_and_the_log_are_followed() {
        let running = config(PORT);
        let wanted = config(&format!(
            "[prices]\nminimum_nanos = 7\n[quotes]\nttl_s = 7\n[receipts]\ninterim_interval_s = 7\n\
             [log]\nlevel = \"debug\"\n[network]\nshare_per_mille = 7\n{PORT}share_per_mille = 8\n"
        ));
        let reload = running.reloaded(&wanted);
        assert_eq!(reload.config, wanted);
        assert!(reload.kept.is_empty(), "{:?}", reload.kept);
        let followed = [
            "prices",
            "quotes",
            "receipts",
            "log.level",
            "network.share_per_mille",
            "port.share_per_mille",
        ];
        assert_eq!(reload.followed, followed);
    }

    #[test]
    fn what_is_laid_down_stays_and_is_named() {
        let running = config(PORT);
        let wanted = config(&format!(
            "data_dir = \"/elsewhere\"\n[http]\nlisten = \"127.0.0.1:1\"\n[openflow]\nlisten = \"127.0.0.1:2\"\n\
             [network]\ndiscover_trunks = true\n[log]\nformat = \"json\"\n[quotes]\nttl_s = 7\n{PORT}capacity = \"1Gbit\"\n"
        ));
        let reload = running.reloaded(&wanted);
        let kept = [
            "data_dir",
            "openflow",
            "http",
            "log.format",
            "network.discover_trunks",
            "port",
        ];
        assert_eq!(reload.kept, kept);
        assert_eq!(reload.followed, ["quotes"]);
        assert_eq!(reload.config.data_dir, running.data_dir);
        assert_eq!(reload.config.ports, running.ports);
        assert_eq!(reload.config.quotes, wanted.quotes);
    }

    #[test]
    fn operators_and_certificates_are_followed_and_whether_there_is_tls_is_not() {
        let with = |key: &str, role: &str| {
            config(&format!(
                "[http.tls]\nkey = \"{key}\"\ncertificate = \"/c.pem\"\n\
                 [[operator]]\nname = \"a\"\nrole = \"{role}\"\ntoken_file = \"/a\"\n"
            ))
        };
        let running = with("/k1.pem", "viewer");
        let wanted = with("/k2.pem", "admin");
        let reload = running.reloaded(&wanted);
        assert_eq!(reload.config, wanted);
        assert_eq!(reload.followed, ["operator", "http.tls"]);
        assert!(reload.kept.is_empty(), "{:?}", reload.kept);
        for (running, wanted) in [(&running, &config("")), (&config(""), &running)] {
            let reload = running.reloaded(wanted);
            assert_eq!(
                (reload.followed, reload.kept),
                (vec!["operator"], vec!["http"])
            );
            assert_eq!(reload.config.http, running.http);
        }
    }
}
