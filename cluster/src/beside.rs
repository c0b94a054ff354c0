//! Work that blocks, kept off the threads that carry a node's tasks.

use std::io;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::spawn_blocking;

/// Does `work` on a thread of its own. A node's runtime has several threads, save in a simulation: there everything
/// happens on one, in an order that only the seed decides, and `work` is done in place. An error only when `work`
/// panics or the runtime ends.
///
/// Called on a node's runtime.
pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => spawn_blocking(work).await.map_err(io::Error::other),
    }
}
