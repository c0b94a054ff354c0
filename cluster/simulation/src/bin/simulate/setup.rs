//! The configuration that calls need: a customer, prices, a pool of numbers that is too small for them.

use super::ledger::{Phase, Rows};
use super::node::Node;
use super::rows;
use std::collections::BTreeMap;
use std::rc::Rc;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;

pub const A_NUMBERS: u32 = 3;
pub const X_NUMBERS: u32 = 3;
pub const LINES: u32 = 2;
/// What the customer begins with.
const OPENED: Micros = 1_000 * rows::UNIT;

pub fn a_name(n: u32) -> String {
    format!("0210000{n}")
}

pub fn x_name(n: u32) -> String {
    format!("1700000{n}")
}

pub async fn configure(node: Rc<Node>) {
    if let Some(done) = put_all(&node).await {
        node.ledger.set_rows(done);
        node.ledger.enter(Phase::Calls);
    }
}

async fn put(node: &Node, entity: Entity) -> Option<Id> {
    let put = Command::Put(Put {
        request: node.ledger.next(),
        actor: "operator".into(),
        id: None,
        version: None,
        memo: String::new(),
        entity,
    });
    match node.ask(&put, || true).await? {
        (_, Reply::Row { id, .. }) => Some(id),
        (_, reply) => {
            node.ledger.broken(format!("{put:?} is answered {reply:?}"));
            None
        }
    }
}

async fn put_all(node: &Node) -> Option<Rows> {
    let customer = put(node, rows::account("c1", "g")).await?;
    let landing = put(node, rows::settlement("s1", "landing")).await?;
    let settlement = put(node, rows::settlement("s2", "axb")).await?;
    put(node, rows::rate("g", "", rows::UNIT / 10, 60)).await?;
    put(node, rows::rate("landing", "", rows::UNIT * 3 / 100, 60)).await?;
    put(node, rows::rate("axb", "", rows::UNIT * 6 / 1000, 6)).await?;
    let Entity::Interface(interface) = rows::interface("hz") else {
        unreachable!("an interface is one")
    };
    // Without rests the verdict on a history is exact.
    let pair_rest_ms = match node.plan.history {
        true => 0,
        false => [0, 25][node.random(0, 2) as usize],
    };
    let interface = put(
        node,
        Entity::Interface(Interface {
            pair_rest_ms,
            unbind_delay_secs: [None, Some(0), Some(1)][node.random(0, 3) as usize],
            ..interface
        }),
    )
    .await?;
    let group = put(node, Entity::AGroup(AGroup { name: "ga".into() })).await?;
    for n in 0..A_NUMBERS {
        let Entity::ANumber(a) = rows::a_number(group, &a_name(n)) else {
            unreachable!("an A number is one")
        };
        put(
            node,
            Entity::ANumber(ANumber {
                line_limit: LINES,
                ..a
            }),
        )
        .await?;
    }
    for n in 0..X_NUMBERS {
        let Entity::XNumber(x) = rows::x_number(interface, &x_name(n)) else {
            unreachable!("an X number is one")
        };
        put(
            node,
            Entity::XNumber(XNumber {
                line_limit: LINES,
                ..x
            }),
        )
        .await?;
    }
    put(
        node,
        Entity::RoutingGateway(RoutingGateway {
            clearing_account: Some(landing),
            axb: Some(AxbRoute {
                a_group: group,
                interface,
                callee_rules: String::new(),
                account: Some(settlement),
                rate_on_submitted: false,
            }),
            ..rows::routing("platform")
        }),
    )
    .await?;
    let gateway = put(
        node,
        Entity::MappingGateway(rows::mapping("customer", customer)),
    )
    .await?;
    Some(Rows {
        gateway,
        customer,
        opened: BTreeMap::from([(customer, OPENED), (landing, 0), (settlement, 0)]),
    })
}
