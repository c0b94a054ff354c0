//! One X: what the platform told, beside the rows of ours. Pure.

use tandem_cluster::command::BindingId;
use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::state::{AxPhase, AxRow, Binding, Phase};
use tandem_ops::reconciliation::Kind;
use tandem_vendors::outcome::{Handle, Held};

/// What was bound within so much time before the platform was asked may be missing from its answer.
pub const SETTLED_MS: Millis = 5_000;

/// What the platform told about one X.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// AXB bindings.
    pub bindings: Vec<Held>,
    /// Static relations; `None` when it was not asked about them.
    pub relations: Option<Vec<Held>>,
}

/// Rows of ours on that X, read after the platform had answered.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// AXB bindings.
    pub bindings: Vec<Binding>,
    /// Static relations.
    pub relations: Vec<AxRow>,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An AXB binding, and its row.
    Binding(Option<BindingId>),
    /// A static relation, and its row.
    Relation(Option<Id>),
}

/// A difference that a second look must confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who holds it.
    pub kind: Kind,
    /// What it is.
    pub what: What,
    /// A
    pub a: String,
    /// B'; empty for a static relation.
    pub b: String,
    /// The platform's named values, as far as known.
    pub handle: Handle,
    /// Why.
    pub note: &'static str,
}

/// One row of ours, of either sort, in the terms of the comparison.
struct Mine<'a> {
    what: What,
    a: &'a str,
    b: &'a str,
    handle: &'a Handle,
    stands: Stands,
}

/// What a row expects the platform to hold.
enum Stands {
    /// It holds it, since this time.
    Since(Millis),
    /// It may or may not, for this reason.
    Unsure(&'static str),
    /// Nothing was ever asked.
    No,
}

/// Compares. `asked_at` is the state's time just before the platform was asked. Answers how many agree, and what does
/// not.
pub fn compare(told: &Told, ours: &Ours, asked_at: Millis) -> (u64, Vec<Candidate>) {
    let bindings = ours.bindings.iter().map(of_binding).collect();
    let (mut agreed, mut candidates) =
        side_by_side(&told.bindings, bindings, asked_at, What::Binding(None));
    if let Some(relations) = &told.relations {
        let rows = ours.relations.iter().map(of_relation).collect();
        let (more, others) = side_by_side(relations, rows, asked_at, What::Relation(None));
        agreed += more;
        candidates.extend(others);
    }
    (agreed, candidates)
}

fn of_binding(row: &Binding) -> Mine<'_> {
    Mine {
        what: What::Binding(Some(row.id)),
        a: &row.a,
        b: &row.b_submitted,
        handle: &row.handle,
        stands: match row.phase {
            Phase::Bound => Stands::Since(row.bound_at.unwrap_or(row.created_at)),
            Phase::Binding => Stands::Unsure("its bind is under way"),
            Phase::Unbinding => Stands::Unsure("its release is under way"),
            Phase::Orphan => Stands::Unsure("its bind was lost and is being looked for"),
        },
    }
}

fn of_relation(row: &AxRow) -> Mine<'_> {
    Mine {
        what: What::Relation(Some(row.id)),
        a: &row.entity.a_number,
        b: "",
        handle: &row.live.handle,
        stands: match row.live.phase {
            AxPhase::Bound => Stands::Since(row.live.bound_at.unwrap_or_default()),
            AxPhase::Binding => Stands::Unsure("its bind is under way"),
            AxPhase::Unbinding => Stands::Unsure("its release is under way"),
            AxPhase::Error => Stands::Unsure("its bind failed in doubt: bind or unbind it"),
            AxPhase::Unbound => Stands::No,
        },
    }
}

fn side_by_side(
    held: &[Held],
    mine: Vec<Mine<'_>>,
    asked_at: Millis,
    unknown: What,
) -> (u64, Vec<Candidate>) {
    let mut mine: Vec<Option<Mine<'_>>> = mine.into_iter().map(Some).collect();
    let mut take = |fits: &dyn Fn(&Mine<'_>) -> bool| {
        mine.iter_mut()
            .find(|row| row.as_ref().is_some_and(fits))
            .and_then(Option::take)
    };
    // The platform's own names decide; numbers serve where a row does not know them yet.
    let named: Vec<_> = held
        .iter()
        .map(|held| {
            let row = take(&|row| !row.handle.is_empty() && *row.handle == held.handle);
            (held, row)
        })
        .collect();
    let paired: Vec<_> = named
        .into_iter()
        .map(|(held, row)| {
            (
                held,
                row.or_else(|| take(&|row| row.a == held.a && row.b == held.b)),
            )
        })
        .collect();
    let (mut agreed, mut candidates) = (0, Vec::new());
    for (held, row) in paired {
        let there = |what, note| Candidate {
            kind: Kind::OnlyThere,
            what,
            a: held.a.clone(),
            b: held.b.clone(),
            handle: held.handle.clone(),
            note,
        };
        match row {
            None => candidates.push(there(unknown, "no row of ours")),
            Some(Mine { what, stands, .. }) => match stands {
                Stands::Since(_) => agreed += 1,
                Stands::No => candidates.push(there(what, "its row is unbound")),
                Stands::Unsure(note) => candidates.push(Candidate {
                    kind: Kind::InFlight,
                    ..there(what, note)
                }),
            },
        }
    }
    for row in mine.into_iter().flatten() {
        let Stands::Since(since) = row.stands else {
            continue;
        };
        let (kind, note) = if since.saturating_add(SETTLED_MS) <= asked_at {
            (Kind::OnlyHere, "the platform does not hold it")
        } else {
            (Kind::InFlight, "bound a moment ago")
        };
        candidates.push(Candidate {
            kind,
            what: row.what,
            a: row.a.to_owned(),
            b: row.b.to_owned(),
            handle: row.handle.clone(),
            note,
        });
    }
    (agreed, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_cluster::command::CallId;
    use tandem_cluster::entity::AxBinding;
    use tandem_cluster::state::AxLive;

    const ASKED_AT: Millis = 100_000;

    fn handle(id: &str) -> Handle {
        match id {
            "" => Handle::new(),
            id => Handle::from([("id".to_owned(), id.to_owned())]),
        }
    }

    /// `id a b`, as the platform tells it.
    fn held(text: &str) -> Held {
        let mut words = text.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        Held {
            handle: handle(&word()),
            a: word(),
            x: "170".to_owned(),
            b: word(),
        }
    }

    fn row(id: u64, name: &str, a: &str, b: &str, phase: Phase, bound_at: Millis) -> Binding {
        Binding {
            id,
            call: CallId(1),
            owner: 1,
            interface: 1,
            a_group: 1,
            a_id: 1,
            x_id: 1,
            a: a.to_owned(),
            x: "170".to_owned(),
            b: b.to_owned(),
            b_submitted: b.to_owned(),
            created_at: 0,
            bound_at: Some(bound_at),
            expires_at: None,
            unbind_at: None,
            phase,
            handle: handle(name),
            raw: String::new(),
            last_error: None,
        }
    }

    fn relation(id: Id, a: &str, phase: AxPhase) -> AxRow {
        AxRow {
            id,
            entity: AxBinding {
                interface: 1,
                x_number: "170".to_owned(),
                a_number: a.to_owned(),
                params: Default::default(),
                expires_at: None,
            },
            live: AxLive {
                phase,
                bound_at: Some(1),
                ..AxLive::default()
            },
        }
    }

    /// What is told and what is ours, as lines of `agreed` and of the differences.
    #[track_caller]
    fn check(bindings: &[&str], rows: Vec<Binding>, want: &[&str]) {
        let told = Told {
            bindings: bindings.iter().map(|text| held(text)).collect(),
            relations: None,
        };
        let ours = Ours {
            bindings: rows,
            relations: Vec::new(),
        };
        assert_eq!(lines(compare(&told, &ours, ASKED_AT)), want);
    }

    fn lines((agreed, candidates): (u64, Vec<Candidate>)) -> Vec<String> {
        let mut lines = vec![format!("{agreed} agreed")];
        lines.extend(candidates.iter().map(|one| {
            let row = match one.what {
                What::Binding(Some(id)) => format!("binding {id}"),
                What::Relation(Some(id)) => format!("relation {id}"),
                What::Binding(None) | What::Relation(None) => format!("A {}", one.a),
            };
            format!("{:?} {row}: {}", one.kind, one.note)
        }));
        lines
    }

    #[test]
    fn what_both_sides_know_agrees() {
        let rows = vec![
            row(1, "s1", "a1", "b1", Phase::Bound, 1),
            row(2, "s2", "a2", "b2", Phase::Bound, 1),
        ];
        check(&["s1 a1 b1", "s2 a2 b2"], rows, &["2 agreed"]);
    }

    #[test]
    fn what_only_the_platform_holds_is_told() {
        check(
            &["s1 a1 b1"],
            vec![],
            &["0 agreed", "OnlyThere A a1: no row of ours"],
        );
        // The same numbers under another name, while the row's own stands as well.
        let rows = vec![row(1, "s1", "a1", "b1", Phase::Bound, 1)];
        check(
            &["s9 a1 b1", "s1 a1 b1"],
            rows,
            &["1 agreed", "OnlyThere A a1: no row of ours"],
        );
    }

    #[test]
    fn what_only_a_row_counts_on_is_told_unless_it_is_too_new_to_be_seen() {
        let settled = row(1, "s1", "a1", "b1", Phase::Bound, ASKED_AT - SETTLED_MS);
        check(
            &[],
            vec![settled],
            &[
                "0 agreed",
                "OnlyHere binding 1: the platform does not hold it",
            ],
        );
        let fresh = row(1, "s1", "a1", "b1", Phase::Bound, ASKED_AT - SETTLED_MS + 1);
        check(
            &[],
            vec![fresh],
            &["0 agreed", "InFlight binding 1: bound a moment ago"],
        );
    }

    #[test]
    fn what_is_under_way_is_left_alone_with_its_reason() {
        let table = [
            (Phase::Binding, "", "its bind is under way"),
            (
                Phase::Orphan,
                "",
                "its bind was lost and is being looked for",
            ),
            (Phase::Unbinding, "s1", "its release is under way"),
            (Phase::Unbinding, "", "its release is under way"),
        ];
        for (phase, name, note) in table {
            let line = format!("InFlight binding 1: {note}");
            let row = || row(1, name, "a1", "b1", phase, 1);
            check(&["s1 a1 b1"], vec![row()], &["0 agreed", &line]);
            // Not there either: nothing differs.
            check(&[], vec![row()], &["0 agreed"]);
        }
    }

    #[test]
    fn relations_are_compared_by_their_a_and_only_when_asked_about() {
        let ours = Ours {
            bindings: Vec::new(),
            relations: vec![
                relation(1, "a1", AxPhase::Bound),
                relation(2, "a2", AxPhase::Bound),
                relation(3, "a3", AxPhase::Unbound),
                relation(4, "a4", AxPhase::Error),
            ],
        };
        let mut told = Told::default();
        assert_eq!(lines(compare(&told, &ours, ASKED_AT)), ["0 agreed"]);
        told.relations = Some(["r1 a1", "r3 a3", "r4 a4", "r5 a5"].map(held).to_vec());
        assert_eq!(
            lines(compare(&told, &ours, ASKED_AT)),
            [
                "1 agreed",
                "OnlyThere relation 3: its row is unbound",
                "InFlight relation 4: its bind failed in doubt: bind or unbind it",
                "OnlyThere A a5: no row of ours",
                "OnlyHere relation 2: the platform does not hold it",
            ]
        );
    }
}
