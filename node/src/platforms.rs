//! One pooled HTTP client per interface, made when first needed and again after an edit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tandem_cluster::command::Command;
use tandem_cluster::entity::{Conflict, Entity, HttpVersion, Id, Interface, Row, TypeRules};
use tandem_cluster::state::State;
use tandem_vendors::client::Outside;
use tandem_vendors::{Client, Vendor};

use crate::binding::machine::Recover;

/// The clients of this node.
#[derive(Default)]
pub struct Platforms {
    clients: Mutex<HashMap<Id, Entry>>,
    /// How requests reach the platforms where this machine's network is not the way.
    outside: Option<Arc<dyn Outside>>,
}

struct Entry {
    version: u32,
    client: Result<Client, String>,
    /// The last one that could be made, whose exchanges are remembered through edits.
    last: Option<Client>,
}

impl Platforms {
    /// Clients whose requests go this way, for simulations.
    pub fn through(outside: Arc<dyn Outside>) -> Self {
        Platforms {
            clients: Mutex::default(),
            outside: Some(outside),
        }
    }

    /// The client of an interface as it is configured now; an error says why it cannot work.
    pub fn client(&self, state: &State, interface: Id) -> Result<Client, String> {
        let Some(row) = state.interface(interface) else {
            return Err(format!("no interface {interface}"));
        };
        let mut entries = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match entries.get(&interface) {
            Some(entry) if entry.version == row.version => entry.client.clone(),
            before => {
                let before = before.and_then(|entry| entry.last.clone());
                let client = self.connect(row, before.as_ref());
                let entry = Entry {
                    version: row.version,
                    client: client.clone(),
                    last: client.clone().ok().or(before),
                };
                entries.insert(interface, entry);
                client
            }
        };
        if let Ok(client) = &client {
            // The platform's limit is of all nodes together; one that is down leaves its share to the others.
            client.share(u32::try_from(state.tenures().len()).unwrap_or(u32::MAX));
        }
        client
    }

    /// The client of an interface if there is one already: for a look that must not make one.
    pub fn known(&self, interface: Id) -> Option<Client> {
        let entries = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&interface)?.last.clone()
    }

    /// A client for one relation whose own parameters differ from its interface's; made for the occasion.
    pub fn special(
        &self,
        state: &State,
        interface: Id,
        params: &BTreeMap<String, String>,
    ) -> Result<Client, String> {
        let Some(row) = state.interface(interface) else {
            return Err(format!("no interface {interface}"));
        };
        let mut row = row.clone();
        row.entity.params.extend(params.clone());
        self.connect(&row, None)
    }

    fn connect(&self, row: &Row<Interface>, before: Option<&Client>) -> Result<Client, String> {
        let interface = configured(row.id, &row.entity)?;
        let client = match (before, &self.outside) {
            (Some(before), _) => before.renewed(&interface),
            (None, Some(outside)) => Client::through(&interface, Arc::clone(outside)),
            (None, None) => Client::new(&interface),
        };
        client.map_err(|error| error.to_string())
    }
}

/// What an interface's type allows, for the row in the state; a type we do not know is left as it is.
pub fn type_rules(interface: &Interface) -> TypeRules {
    let Some(vendor) = Vendor::named(&interface.kind) else {
        return interface.type_rules;
    };
    let policy = vendor.policy();
    TypeRules {
        conflict: match policy.conflict {
            tandem_vendors::Conflict::Pair => Conflict::Pair,
            tandem_vendors::Conflict::XCallee => Conflict::XCallee,
            tandem_vendors::Conflict::XExclusive => Conflict::XExclusive,
        },
        ax: policy.ax,
        set_callee: policy.set_callee,
    }
}

/// The name under which every type knows how long its platform keeps a binding by itself, in seconds; 0: for ever.
const LIFETIME: &str = "expiration";
/// A lost bind may have taken effect so long after it was sent.
const LATE_MS: u64 = 60_000;

/// How long the platform keeps a binding by itself, in milliseconds; `None`: for ever, or not known.
pub fn lifetime_ms(interface: &Interface) -> Option<u64> {
    let given = interface.params.get(LIFETIME).map(String::as_str);
    let seconds = given.or_else(|| {
        let vendor = Vendor::named(&interface.kind)?;
        vendor.describe().param(LIFETIME)?.default.as_deref()
    });
    let seconds = seconds?.parse::<u64>().ok().filter(|secs| *secs > 0)?;
    seconds.checked_mul(1_000)
}

/// How the platform is cleared of a bind whose outcome is unknown.
pub fn recover(interface: &Interface) -> Recover {
    let (means, quarantine_ms, retry) = match Vendor::named(&interface.kind) {
        Some(vendor) => {
            let handling = vendor.handling();
            let quarantine = handling.quarantine_s.map(|secs| u64::from(secs) * 1_000);
            (handling.recover.clone(), quarantine, handling.retry.clone())
        }
        None => (Vec::new(), None, Vec::new()),
    };
    let lapses_ms = quarantine_ms
        .or_else(|| lifetime_ms(interface))
        .map(|ms| ms.saturating_add(LATE_MS));
    Recover {
        means,
        lapses_ms,
        retry,
    }
}

/// Says in the log which interfaces do not verify their platform's certificate.
pub fn tell_unverified(state: &State) {
    for row in state.interfaces().filter(|row| !row.entity.tls_verify) {
        tracing::warn!(
            interface = %row.entity.name,
            "certificate of the platform is not verified: anybody on the way can read and change requests"
        );
    }
}

/// Fills in what follows from the type wherever a command makes or changes an interface.
pub fn fill_type_rules(command: &mut Command) {
    let fill = |entity: &mut Entity| {
        if let Entity::Interface(interface) = entity {
            interface.type_rules = type_rules(interface);
        }
    };
    match command {
        Command::Put(put) => fill(&mut put.entity),
        Command::PutMany(many) => many.rows.iter_mut().for_each(|row| fill(&mut row.entity)),
        _ => {}
    }
}

/// The replicated row in the vendors' own terms; an error names a type that is not known.
pub(crate) fn configured(id: Id, entity: &Interface) -> Result<tandem_vendors::Interface, String> {
    let vendor = Vendor::named(&entity.kind)
        .ok_or_else(|| format!("interface `{}`: no type `{}`", entity.name, entity.kind))?;
    let mut urls = entity.urls.clone();
    let base = urls.remove("base").unwrap_or_default();
    let mut interface = tandem_vendors::Interface::new(id, &entity.name, vendor, &base);
    interface.urls = urls;
    interface.params = entity.params.clone();
    interface.timeout_ms = u64::from(entity.timeout_ms);
    interface.connect_timeout_ms = u64::from(entity.connect_timeout_ms).min(interface.timeout_ms);
    interface.tls_verify = entity.tls_verify;
    interface.ca_pem = entity.ca_pem.clone();
    interface.rate_per_s = entity.rate_per_s;
    interface.proxy = entity.proxy.clone();
    interface.http_version = match entity.http_version {
        HttpVersion::Auto => tandem_vendors::HttpVersion::Auto,
        HttpVersion::One => tandem_vendors::HttpVersion::One,
        HttpVersion::Two => tandem_vendors::HttpVersion::Two,
    };
    Ok(interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_cluster::command::{Put, PutMany, PutRow};

    fn huawei() -> Entity {
        Entity::Interface(Interface {
            name: "h".into(),
            kind: "huawei".into(),
            params: BTreeMap::new(),
            urls: BTreeMap::new(),
            unbind_delay_secs: None,
            hold_missing: false,
            timeout_ms: 1_000,
            tls_verify: true,
            ca_pem: None,
            pair_rest_ms: 0,
            rate_per_s: None,
            connect_timeout_ms: 500,
            proxy: None,
            http_version: HttpVersion::Auto,
            // What people wrote does not count.
            type_rules: TypeRules {
                conflict: Conflict::Pair,
                ax: false,
                set_callee: false,
            },
        })
    }

    #[track_caller]
    fn check(entity: &Entity) {
        let Entity::Interface(interface) = entity else {
            panic!("an interface went in");
        };
        let want = TypeRules {
            conflict: Conflict::XCallee,
            ax: true,
            set_callee: true,
        };
        assert_eq!(interface.type_rules, want);
    }

    #[test]
    fn an_interface_gets_the_rules_of_its_type_whichever_way_it_is_written() {
        let mut one = Command::Put(Put {
            request: 1,
            actor: "ann".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity: huawei(),
        });
        fill_type_rules(&mut one);
        match &one {
            Command::Put(put) => check(&put.entity),
            other => panic!("became {other:?}"),
        }
        let row = PutRow {
            id: None,
            version: None,
            memo: String::new(),
            entity: huawei(),
        };
        let mut many = Command::PutMany(PutMany {
            request: 1,
            actor: "ann".into(),
            rows: vec![row.clone(), row],
        });
        fill_type_rules(&mut many);
        match &many {
            Command::PutMany(many) => many.rows.iter().for_each(|row| check(&row.entity)),
            other => panic!("became {other:?}"),
        }
    }
}
