//! One pooled HTTP client per interface, made when first needed and again after an edit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tandem_cluster::entity::{Id, Interface, Row};
use tandem_cluster::state::State;
use tandem_vendors::{Client, Vendor};

/// The clients of this node.
#[derive(Default)]
pub struct Platforms(Mutex<HashMap<Id, Entry>>);

struct Entry {
    version: u32,
    client: Result<Client, String>,
}

impl Platforms {
    /// The client of an interface as it is configured now; an error says why it cannot work.
    pub fn client(&self, state: &State, interface: Id) -> Result<Client, String> {
        let Some(row) = state.interface(interface) else {
            return Err(format!("no interface {interface}"));
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&interface) {
            Some(entry) if entry.version == row.version => entry.client.clone(),
            _ => {
                let client = connect(row);
                entries.insert(
                    interface,
                    Entry {
                        version: row.version,
                        client: client.clone(),
                    },
                );
                client
            }
        }
    }
}

fn connect(row: &Row<Interface>) -> Result<Client, String> {
    let interface = configured(row)?;
    Client::new(&interface).map_err(|error| error.to_string())
}

/// The replicated row in the vendors' own terms.
fn configured(row: &Row<Interface>) -> Result<tandem_vendors::Interface, String> {
    let entity = &row.entity;
    let vendor = Vendor::named(&entity.kind)
        .ok_or_else(|| format!("interface `{}`: no type `{}`", entity.name, entity.kind))?;
    let mut urls = entity.urls.clone();
    let base = urls.remove("base").unwrap_or_default();
    let mut interface = tandem_vendors::Interface::new(row.id, &entity.name, vendor, &base);
    interface.urls = urls;
    interface.params = entity.params.clone();
    interface.timeout_ms = u64::from(entity.timeout_ms);
    interface.connect_timeout_ms = interface.connect_timeout_ms.min(interface.timeout_ms);
    interface.tls_verify = entity.tls_verify;
    interface.ca_pem = entity.ca_pem.clone();
    interface.rate_per_s = entity.rate_per_s;
    Ok(interface)
}
