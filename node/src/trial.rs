//! The trial of an interface: a spare pair is taken from the replicated pool, bound at the platform, looked up there
//! where it can be asked, and released again.
//!
//! The binding is looked after by the same actor as any call's, in the same way, so that it is cleared whatever becomes
//! of the trial: of a bind whose outcome is unknown by the platform's own means, of a node that dies by another one.
//! The trial only watches, and says what it saw when its time is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tandem_cluster::command::{BindingId, Borrow, Command, Lease, Refusal, Reply};
use tandem_cluster::entity::{Id, Interface};
use tandem_ops::exchange::{Exchange, Health, OnNode, Side, Trial, Tried, Untried};
use tandem_ops::switch::Unavailable;
use tandem_vendors::client::{Health as Doing, Tap};
use tandem_vendors::exchange::Op;
use tandem_vendors::journal::{self, Shown};
use tandem_vendors::{Bind, Client, QueryOutcome, Vendor};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, timeout_at};

use crate::binding::actor::{BindingActor, News, Order};
use crate::core::Core;

/// The state must have taken the pair within this.
const BORROW_WITHIN: Duration = Duration::from_secs(5);
/// Exchanges shown of one trial. A platform that is tried again and again makes more, of which the first ones tell.
const STEPS_MAX: usize = 64;
/// A clock that is off by so much is worth a word, in milliseconds.
const CLOCK_SAID_MS: i64 = 5_000;

/// What a platform was asked during a trial.
type Steps = Arc<Mutex<Vec<Arc<Exchange>>>>;

/// Tries an interface from this node. Must run on a thread that has an actor system.
pub async fn run(core: Arc<Core>, trial: Trial) -> Result<Tried, Untried> {
    let state = core.tables();
    let row = state
        .interface(trial.interface)
        .ok_or(Untried::Refused(Refusal::NotFound))?;
    let interface = row.entity.clone();
    let client = core
        .platforms
        .client(&state, trial.interface)
        .map_err(Untried::Unusable)?;
    let (epoch, lease) = borrow(&core, &trial).await?;
    tracing::info!(
        interface = %interface.name, binding = lease.binding, actor = %trial.actor,
        "interface is tried"
    );
    let steps = Steps::default();
    let tap: Tap = {
        let steps = Arc::clone(&steps);
        Arc::new(move |exchange: &journal::Exchange| {
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            if steps.len() < STEPS_MAX {
                steps.push(Arc::new(shown(exchange)));
            }
        })
    };
    let began = Instant::now();
    let until = began + Duration::from_secs(u64::from(trial.within_secs));
    let (sender, mut news) = mpsc::unbounded_channel();
    let binding = BindingActor::trial(Arc::clone(&core), epoch, &lease, sender, Arc::clone(&tap));
    let bound = first(&mut news, until).await;
    let looked = match &bound {
        Some(News::Bound(x)) if client.can(Op::Query) => {
            Some(look(&client.tapped(tap), &lease, x.as_deref(), until).await)
        }
        _ => None,
    };
    // A bind whose answer has not come is released once it has.
    binding.do_send(Order::Release);
    let gone = gone(&mut news, until).await && forgotten(&core, lease.binding, until).await;
    let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
    let mut tried = Tried {
        interface: interface.name.clone(),
        kind: interface.kind.clone(),
        node: core.config.node.access_name.clone(),
        a: lease.a,
        x_bound: match &bound {
            Some(News::Bound(Some(x))) => x.clone(),
            Some(News::Bound(None)) => lease.x.clone(),
            _ => String::new(),
        },
        x: lease.x,
        b: lease.b_submitted,
        binding: lease.binding,
        left: !gone,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        clock_offset_ms: client.health().clock_offset_ms,
        steps,
        ..Tried::default()
    };
    (tried.passed, tried.verdict) = verdict(bound.as_ref(), looked.as_ref(), gone, &tried);
    tried.warnings = warnings(&interface, &tried);
    tracing::info!(
        interface = %interface.name, binding = tried.binding, passed = tried.passed,
        left = tried.left, "interface was tried"
    );
    Ok(tried)
}

async fn borrow(core: &Core, trial: &Trial) -> Result<(u32, Lease), Untried> {
    let unavailable = |why: &str| Untried::Unavailable(Unavailable(why.to_owned()));
    let epoch = core
        .epoch()
        .ok_or_else(|| unavailable("this node holds no access name just now"))?;
    let command = Command::Borrow(Borrow {
        epoch,
        interface: trial.interface,
        a: trial.a.clone(),
        x: trial.x.clone(),
        b: trial.b.clone(),
        actor: trial.actor.clone(),
    });
    // A pair that is taken after all is taken up by whoever looks after bindings without an actor.
    match core.cluster.propose_within(command, BORROW_WITHIN).await {
        Ok(Reply::Lent(lease)) => Ok((epoch, lease)),
        Ok(Reply::Refused(refusal)) => Err(Untried::Refused(refusal)),
        Ok(_) => Err(unavailable("an unexpected answer of the state")),
        Err(error) => Err(unavailable(&error.to_string())),
    }
}

/// What came of the bind.
async fn first(news: &mut UnboundedReceiver<News>, until: Instant) -> Option<News> {
    timeout_at(until, news.recv()).await.ok().flatten()
}

/// Whether nothing is left at the platform.
async fn gone(news: &mut UnboundedReceiver<News>, until: Instant) -> bool {
    while let Ok(Some(told)) = timeout_at(until, news.recv()).await {
        if told == News::Gone {
            return true;
        }
    }
    false
}

/// Whether the row has left the state as well: whoever tries the interface next, on whichever node, must not meet it.
async fn forgotten(core: &Core, binding: BindingId, until: Instant) -> bool {
    // A trial is quicker than news of its own row: until everything that is committed is applied here, the state may be
    // one that has not seen the row come.
    let left = || until.saturating_duration_since(Instant::now());
    let (barrier, cluster) = (&core.barrier, &core.cluster);
    barrier.pass(cluster, left()).await
        && cluster
            .state_when(left(), |state| state.binding(binding).is_none())
            .await
            .is_ok()
}

/// Whether the platform tells what it holds, which is how a lost bind would be found.
async fn look(client: &Client, lease: &Lease, x: Option<&str>, until: Instant) -> QueryOutcome {
    let numbers = Bind {
        a: lease.a.clone(),
        x: x.unwrap_or(&lease.x).to_owned(),
        b: lease.b_submitted.clone(),
        own_id: lease.binding.to_string(),
    };
    match timeout_at(until, client.query(&numbers)).await {
        Ok(outcome) => outcome,
        Err(_) => QueryOutcome::None,
    }
}

/// Whether it passed, and why.
fn verdict(
    bound: Option<&News>,
    looked: Option<&QueryOutcome>,
    gone: bool,
    tried: &Tried,
) -> (bool, String) {
    let failed = |op: &str| {
        let last = tried
            .steps
            .iter()
            .rev()
            .find(|step| !step.ok && step.op == op);
        last.map_or_else(
            || "the time was over before an answer came".to_owned(),
            |step| match step.code.as_str() {
                "" => step.outcome.clone(),
                code => format!("{} (code {code}, {})", step.outcome, step.text),
            },
        )
    };
    let said = match (bound, looked, gone) {
        (Some(News::Bound(_)), Some(QueryOutcome::Failed(_)), true) => {
            format!(
                "bound and released, but the query failed: {}",
                failed("query")
            )
        }
        (Some(News::Bound(_)), Some(QueryOutcome::None), true) => {
            "bound and released, but the platform did not find the binding when asked".to_owned()
        }
        (Some(News::Bound(_)), _, true) if tried.steps.is_empty() => {
            let said = "nothing is sent: this platform stores nothing and asks us for each call";
            return (true, said.to_owned());
        }
        (Some(News::Bound(_)), _, true) => return (true, "bound and released".to_owned()),
        (Some(News::Bound(_)), _, false) => format!(
            "bound, not released yet: {}; it is tried again, see binding {}",
            failed("unbind"),
            tried.binding
        ),
        (_, _, true) => format!("not bound: {}; nothing is left behind", failed("bind")),
        (_, _, false) => format!(
            "not bound for sure: {}; what the platform may hold is being cleared, see binding {}",
            failed("bind"),
            tried.binding
        ),
    };
    (false, said)
}

fn warnings(interface: &Interface, tried: &Tried) -> Vec<String> {
    let mut said = Vec::new();
    if !interface.tls_verify {
        said.push("the certificate of the platform is not verified".to_owned());
    }
    if !tried.x_bound.is_empty() && tried.x_bound != tried.x {
        said.push(format!("the platform gave X {} instead", tried.x_bound));
    }
    if tried.clock_offset_ms.abs() >= CLOCK_SAID_MS {
        said.push(format!(
            "the clock of the platform is {} s off ours, which is corrected for",
            tried.clock_offset_ms / 1_000
        ));
    }
    let slowest = tried.steps.iter().map(|step| step.took_us / 1_000).max();
    let timeout_ms = u64::from(interface.timeout_ms);
    if let Some(slowest) = slowest.filter(|ms| *ms * 2 > timeout_ms && *ms < timeout_ms) {
        said.push(format!(
            "an answer took {slowest} ms of the {timeout_ms} ms that are allowed"
        ));
    }
    let recovers = Vendor::named(&interface.kind).is_some_and(|vendor| vendor.policy().query);
    if !recovers && !tried.steps.is_empty() {
        said.push("the platform cannot be asked what it holds".to_owned());
    }
    said
}

/// How an interface does here, with its last exchanges if they are wanted.
pub fn on_node(core: &Core, interface: Id, exchanges: bool) -> OnNode {
    let Some(client) = core.platforms.known(interface) else {
        return OnNode::default();
    };
    let Doing {
        breaker,
        clock_offset_ms,
        in_flight,
        rate_milli,
    } = client.health();
    let kept = match exchanges {
        true => client.exchanges(true),
        false => Vec::new(),
    };
    OnNode {
        health: Some(Health {
            breaker: breaker.map(str::to_owned),
            clock_offset_ms,
            in_flight,
            rate_milli,
        }),
        exchanges: kept.iter().map(|exchange| shown(exchange)).collect(),
    }
}

fn shown(exchange: &journal::Exchange) -> Exchange {
    let side = |shown: &Shown| Side {
        line: shown.line.clone(),
        headers: shown.headers.clone(),
        body: shown.body.clone(),
        body_bytes: shown.body_bytes as u64,
    };
    let link = exchange.link.as_ref();
    Exchange {
        number: exchange.number,
        at: exchange.at_ms,
        op: exchange.op.word().to_owned(),
        outcome: exchange.outcome.to_owned(),
        code: exchange.code.clone(),
        text: exchange.text.clone(),
        sent: exchange.sent,
        ok: exchange.code.is_empty(),
        took_us: exchange.took_us,
        clock_offset_ms: exchange.clock_offset_ms,
        http: link.map(|link| link.http.clone()).unwrap_or_default(),
        remote: link
            .and_then(|link| link.remote)
            .map(|remote| remote.to_string())
            .unwrap_or_default(),
        tls: link.and_then(|link| link.tls.clone()).unwrap_or_default(),
        certificate_sha256: link
            .and_then(|link| link.certificate_sha256.clone())
            .unwrap_or_default(),
        request: side(&exchange.request),
        answer: exchange.answer.as_ref().map(side),
    }
}
