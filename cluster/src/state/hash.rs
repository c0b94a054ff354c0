//! Hashes of the content, alike on all nodes and in all builds.

use super::{Content, State};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;

/// What a node holds of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHash {
    /// Its name in the API, or what people call the part of the state that is no table of theirs.
    pub table: &'static str,
    /// Rows.
    pub rows: u64,
    /// Of everything in it.
    pub hash: u64,
}

/// Eight bytes at a time, multiplied and folded: quick, stable, and not meant against adversaries.
struct Fold {
    hash: u64,
    pending: [u8; 8],
    filled: usize,
    length: u64,
}

impl Fold {
    fn new() -> Self {
        Fold {
            hash: 0xcbf2_9ce4_8422_2325,
            pending: [0; 8],
            filled: 0,
            length: 0,
        }
    }

    fn word(&mut self, word: u64) {
        let wide = u128::from(self.hash ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        let folded = (wide >> 64) as u64 ^ wide as u64;
        // A word that meets its own hash would leave zero, and all that follows would hash alike.
        self.hash = folded.rotate_left(23).wrapping_add(0xf39c_c060_5ced_c835);
    }

    fn finish(mut self) -> u64 {
        self.pending[self.filled..].fill(0);
        self.word(u64::from_le_bytes(self.pending));
        self.word(self.length);
        self.hash
    }
}

impl Writer for Fold {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), EncodeError> {
        self.length += bytes.len() as u64;
        if self.filled > 0 {
            let take = bytes.len().min(8 - self.filled);
            self.pending[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes = &bytes[take..];
            if self.filled < 8 {
                return Ok(());
            }
            self.word(u64::from_le_bytes(self.pending));
            self.filled = 0;
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes(
                word.try_into().expect("chunks of eight"),
            ));
        }
        let rest = words.remainder();
        self.pending[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        Ok(())
    }
}

impl State {
    /// A hash of the whole content, alike on nodes that applied the same entries. Encodes everything: some 60 ms for
    /// 200,000 numbers and 50,000 bindings, so it is taken of a clone and not where commands are applied.
    pub fn hash(&self) -> u64 {
        let mut fold = Fold::new();
        bincode::serde::encode_into_writer(&self.content, &mut fold, bincode::config::standard())
            .expect("the content has no type that bincode refuses and the writer never fails");
        if self.level() >= 2 {
            bincode::serde::encode_into_writer(
                &self.since_2,
                &mut fold,
                bincode::config::standard(),
            )
            .expect("numbers always encode and the writer never fails");
        }
        fold.finish()
    }

    /// Rows and hash of every part of the content: nothing that a snapshot carries is left out. Costs what
    /// [`State::hash`] costs.
    pub fn tables(&self) -> Vec<TableHash> {
        // Taken apart by name, so that a field that is added must be put somewhere.
        let Content {
            at,
            last_ids,
            last_binding,
            last_epoch,
            interfaces,
            x_numbers,
            a_groups,
            a_numbers,
            mapping,
            routing,
            accounts,
            rates,
            ax,
            ax_live,
            leaving_x,
            leaving_a,
            errors,
            money,
            past,
            let_go,
            calls,
            ended,
            bindings,
            rests,
            devices,
            tenures,
            outbox,
            outbox_last,
            stored,
            voters,
            requests,
            payments,
            payment_last,
            audit,
            audit_last,
            ax_places,
            regions,
            region_import,
            level_held,
        } = &self.content;
        let counters = (at, last_ids, last_binding, last_epoch, level_held);
        let mut tables = vec![
            part("interfaces", interfaces.len(), interfaces),
            part("x-numbers", x_numbers.len(), x_numbers),
            part("a-groups", a_groups.len(), a_groups),
            part("a-numbers", a_numbers.len(), a_numbers),
            part("mapping-gateways", mapping.len(), mapping),
            part("routing-gateways", routing.len(), routing),
            part("accounts", accounts.len(), accounts),
            part("fee-rates", rates.len(), rates),
            part("ax-bindings", ax.len(), ax),
            part("ax-states", ax_live.len(), &(ax_live, ax_places)),
            part(
                "leaving-numbers",
                leaving_x.len() + leaving_a.len(),
                &(leaving_x, leaving_a),
            ),
            part("interface-errors", errors.len(), errors),
            part("balances", money.len(), money),
            part("payments", payments.len(), &(payments, payment_last)),
            part("calls", calls.len(), calls),
            part("ended-calls", ended.len(), ended),
            part("bindings", bindings.len(), bindings),
            part("resting-pairs", rests.len(), rests),
            part("devices", devices.len(), devices),
            part("claims", tenures.len(), tenures),
            part(
                "outbox",
                outbox.len(),
                &(outbox, outbox_last, stored, voters),
            ),
            part("requests", requests.len(), requests),
            part("audit", audit.len(), &(audit, audit_last)),
            part("regions", regions.len() as usize, &(regions, region_import)),
            part(
                "counters",
                past.len() + let_go.len(),
                &(counters, past, let_go),
            ),
        ];
        // Nodes are compared while some of them run a release that knows nothing of this.
        if self.level() >= 2 {
            tables.push(part("levels", self.since_2.rows(), &self.since_2));
        }
        tables
    }
}

fn part(table: &'static str, rows: usize, content: &impl Serialize) -> TableHash {
    let mut fold = Fold::new();
    bincode::serde::encode_into_writer(content, &mut fold, bincode::config::standard())
        .expect("the content has no type that bincode refuses and the writer never fails");
    TableHash {
        table,
        rows: rows as u64,
        hash: fold.finish(),
    }
}
