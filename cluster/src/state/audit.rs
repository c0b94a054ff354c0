//! What operators did, and the replies to their last edits.

use super::{AUDIT_MAX, Audit, Deed, REQUESTS_MAX, State};
use crate::command::{MemberDeed, Reply};
use crate::entity::Entity;
use std::sync::Arc;

/// Bytes of an actor's name.
const ACTOR_MAX: usize = 128;
/// Bytes of a detail.
const DETAIL_MAX: usize = 300;
const MASK: &str = "******";

impl State {
    /// Writes a line.
    pub(super) fn note(
        &mut self,
        actor: &str,
        deed: Deed,
        before: Option<Entity>,
        after: Option<Entity>,
    ) {
        self.content.audit_last += 1;
        self.content.audit.push_back(Arc::new(Audit {
            number: self.content.audit_last,
            at: self.content.at,
            actor: self::actor(actor).to_owned(),
            deed,
            before: before.map(masked),
            after: after.map(masked),
        }));
        if self.content.audit.len() > AUDIT_MAX {
            self.content.audit.pop_front();
        }
    }

    /// Writes a line about a change that the consensus has made.
    pub(super) fn note_member(
        &mut self,
        node: u64,
        deed: MemberDeed,
        detail: &str,
        actor: &str,
    ) -> Reply {
        let detail = super::model::cut(detail, DETAIL_MAX).to_owned();
        self.note(actor, Deed::Member { node, deed, detail }, None, None);
        Reply::Done
    }

    /// Keeps a reply for repeats of its request.
    pub(super) fn remember(&mut self, request: u64, reply: &Reply) {
        self.content.requests.push_back((request, reply.clone()));
        let oldest = (self.content.requests.len() > REQUESTS_MAX)
            .then(|| self.content.requests.pop_front())
            .flatten();
        if let Some(lookup) = self.index.lookup.made_mut() {
            lookup.requests.insert(request, reply.clone());
            if let Some((oldest, _)) = oldest {
                lookup.requests.remove(&oldest);
            }
        }
    }
}

/// An actor's name as it is kept.
pub(super) fn actor(name: &str) -> &str {
    super::model::cut(name, ACTOR_MAX)
}

/// A row without what only the platform and we may know.
fn masked(entity: Entity) -> Entity {
    match entity {
        Entity::Interface(mut interface) => {
            for (name, value) in &mut interface.params {
                let name = name.to_ascii_lowercase();
                if ["secret", "password", "token", "key"]
                    .iter()
                    .any(|word| name.contains(word))
                {
                    MASK.clone_into(value);
                }
            }
            // `http://user:password@host`
            if let Some((_, host)) = interface.proxy.as_deref().and_then(|p| p.rsplit_once('@')) {
                interface.proxy = Some(format!("http://{MASK}@{host}"));
            }
            Entity::Interface(interface)
        }
        other => other,
    }
}
