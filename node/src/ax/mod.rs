//! Static relations (A,X): one exchange with the platform after another until the row says what was wished for.

use tandem_cluster::entity::Id;

pub mod actor;
pub mod machine;

/// Our own name for a relation, sent where the platform has a field for it.
pub fn own_id(relation: Id) -> String {
    format!("ax-{relation}")
}
