//! `DOMAIN.md` §4.1, §4.2 and §5, a row for each rule: the rule, what is there, what happens. The words are explained in
//! `scenario.rs`.

use crate::scenario::tell;

#[test]
fn numbers_are_allocated_by_these_rules() {
    tell(&[
        // I1
        (
            "an A carries one call unless its limit says more",
            "A 2101, X 1701, X 1702",
            "c1 calls 138 => 2101/*; A 2101 => 1; c2 calls 139 => no number",
        ),
        (
            "an A of limit 2 carries two calls",
            "A 2101 x2, X 1701, X 1702",
            "c1 calls 138 => 2101/*; c2 calls 139 => 2101/*; A 2101 => 2",
        ),
        (
            "an A is held until the call ends, also after an early unbind",
            "A 2101, X 1701 x9, delay 0",
            "c1 calls 138; c1 bound; c1 answered; c1 unbound; X 1701 => 0; A 2101 => 1; c2 calls 139 => no number; c1 ends; A 2101 => 0",
        ),
        // I2
        (
            "an X carries one binding unless its limit says more",
            "A 2101 x9, A 2102 x9, X 1701",
            "c1 calls 138 => */1701; c2 calls 139 => no number",
        ),
        (
            "an X is held until the platform confirms the unbind",
            "A 2101 x9, A 2102, X 1701, rest 0",
            "c1 calls 138; c1 bound; c1 ends; c1 row => unbinding; X 1701 => 1; c2 calls 139 => no number; c1 unbound; X 1701 => 0; c2 calls 139 => */1701",
        ),
        (
            "a forced unbind frees X whatever the platform says",
            "A 2101 x9, X 1701, rest 0",
            "c1 calls 138; c1 bound; c1 forced; c1 row => gone; X 1701 => 0",
        ),
        // I3
        (
            "a pair carries one binding, whatever the limits",
            "A 2101 x9, X 1701 x9",
            "c1 calls 138 => 2101/1701; c2 calls 139 => no number",
        ),
        (
            "an X of limit k carries k bindings with k different A",
            "A 2101 x9, A 2102 x9, X 1701 x9",
            "c1 calls 138 => */1701; c2 calls 139 => */1701; c3 calls 137 => no number",
        ),
        (
            "a static relation takes its pair as well",
            "A 2101 x9, X 1701 x9, relation 2101/1701",
            "c1 calls 138 => no number",
        ),
        (
            "a relation is not bound where a binding has the pair",
            "A 2101 x9, X 1701 x9",
            "c1 calls 138; bind 2101/1701 => in use",
        ),
        // I4
        (
            "a callee stands once on an X, so that a call back finds one A",
            "A 2101, A 2102, X 1701 x9",
            "c1 calls 138 => */1701; c2 calls 138 => no number",
        ),
        (
            "the same callee goes out over another X",
            "A 2101, A 2102, X 1701 x9, X 1702 x9",
            "c1 calls 138; c2 calls 138 => */*; c3 calls 139 => no number",
        ),
        (
            "a type that minds pairs alone lets a callee stand twice",
            "A 2101, A 2102, X 1701 x9, scope pair",
            "c1 calls 138 => */1701; c2 calls 138 => */1701",
        ),
        (
            "no number is A and callee of one X",
            "A 2101 x9, A 2102 x9, X 1701 x9",
            "c1 calls 2102 => 2101/1701; c2 calls 139 => no number",
        ),
        (
            "nor callee of an X on which it is A",
            "A 2101 x9, A 2102 x9, X 1701 x9",
            "c1 calls 139 => */1701; c2 calls 139 => no number; c3 calls 2101 => no number; c4 calls 2102 => no number",
        ),
        (
            "a type whose X numbers are exclusive gives each once",
            "A 2101, A 2102, X 1701 x9, scope x exclusive",
            "c1 calls 138 => */1701; c2 calls 139 => no number; X 1701 => 1",
        ),
        // I5
        (
            "nobody is called from the own number",
            "A 2101, X 1701",
            "c1 calls 2101 => no number",
        ),
        (
            "another A calls it",
            "A 2101, A 2102, X 1701",
            "c1 calls 2101 => 2102/1701",
        ),
        // I6
        (
            "a lost node's call frees its A, and its binding is released by another",
            "A 2101, X 1701, rest 0",
            "c1 calls 138; c1 bound; node dies; A 2101 => 0; c1 row => unbinding; c1 unbound; X 1701 => 0",
        ),
        (
            "a bind whose answer went down with its node quarantines X until it is cleared",
            "A 2101, X 1701",
            "c1 calls 138; node dies; c1 row => orphan; state 1701 => quarantined; c1 unbound; state 1701 => active",
        ),
        // Which X
        (
            "restrict: only numbers that name the caller",
            "A 2101, X 1701, X 1702 for 0571*, mode restrict",
            "c1 calls 138 from 0571888 => 2101/1702; c2 calls 138 from 0755 => no number",
        ),
        (
            "prefer: those that name the caller first",
            "A 2101 x9, X 1701, X 1702 for 0571*, mode prefer",
            "c1 calls 138 from 0571888 => 2101/1702; c2 calls 139 from 0571888 => 2101/1701",
        ),
        (
            "an exact entry comes before a prefix",
            "A 2101, X 1701 for 0571*, X 1702 for 0571888, mode prefer",
            "c1 calls 138 from 0571888 => 2101/1702",
        ),
        (
            "a longer prefix comes before a shorter",
            "A 2101, X 1701 for 057*, X 1702 for 0571*, mode prefer",
            "c1 calls 138 from 0571888 => 2101/1702",
        ),
        (
            "a prefix comes before a region",
            "A 2101, X 1701 for @571, X 1702 for 0571*, mode prefer",
            "c1 calls 138 from 057188888888 => 2101/1702",
        ),
        (
            "a region comes before numbers for everybody",
            "A 2101, X 1701, X 1702 for @571, mode prefer",
            "c1 calls 138 from 057188888888 => 2101/1702",
        ),
        (
            "one X serves several regions",
            "A 2101 x9, X 1701 x9 for @571|@755 only",
            "c1 calls 138 from 057188888888 => 2101/1701; c1 ends; c1 unbound; wait 2000; c2 calls 139 from 075588888888 => 2101/1701",
        ),
        (
            "none: every permitted number alike, and closed ones only for those they name",
            "A 2101, X 1701 for 0571* only, mode none",
            "c1 calls 138 from 0755 => no number; c2 calls 138 from 0571888 => 2101/1701",
        ),
        (
            "an X with an empty list that takes no others serves nobody",
            "A 2101, X 1701 only",
            "c1 calls 138 => no number",
        ),
        (
            "self-service: the customer names the X by the caller number",
            "A 2101 x9, X 1701 for 05718512345 only, X 1702 for 05718512346 only, mode restrict",
            "c1 calls 138 from 05718512346 => 2101/1702; c2 calls 138 from 05718512345 => 2101/1701; c3 calls 138 from 05718512340 => no number",
        ),
        (
            "a disabled X gets nothing new",
            "A 2101, X 1701",
            "disable 1701; c1 calls 138 => no number",
        ),
        (
            "an X that is removed under a binding finishes it first",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; remove 1701 => ok; state 1701 => disabled; c1 row => bound; c1 ends; c1 unbound; state 1701 => gone",
        ),
        (
            "a limit that is lowered under bindings gives nothing new until they are gone",
            "A 2101, A 2102, A 2103, X 1701 x2, rest 0",
            "c1 calls 138; c2 calls 139; limit 1701 x1; c1 ends; c1 unbound; c3 calls 137 => no number; c2 ends; c2 unbound; c3 calls 137 => */1701",
        ),
        (
            "no free pair: the next gateway, then an end",
            "A 2101, X 1701, two gateways",
            "c1 calls 138 => 2101/1701; c2 calls 139 => 2209/1809; c3 calls 137 => no number",
        ),
    ]);
}

#[test]
fn bindings_live_by_these_rules() {
    tell(&[
        (
            "reserved, bound, released",
            "A 2101, X 1701",
            "c1 calls 138; c1 row => binding; c1 bound => ok; c1 row => bound; c1 ends; c1 row => unbinding; c1 unbound => ok; c1 row => gone",
        ),
        (
            "delay null: released when the call ends",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; c1 answered => no moment; c1 row => bound; c1 ends; c1 row => unbinding",
        ),
        (
            "delay 0: at the answer",
            "A 2101, X 1701, delay 0",
            "c1 calls 138; c1 bound; c1 answered => release in 0 s",
        ),
        (
            "delay n: n seconds after the answer",
            "A 2101, X 1701, delay 20",
            "c1 calls 138; c1 bound; c1 answered => release in 20 s",
        ),
        (
            "a call that ends earlier releases at once",
            "A 2101, X 1701, delay 20",
            "c1 calls 138; c1 bound; c1 answered; c1 ends; c1 row => unbinding",
        ),
        (
            "a call that is never answered releases at its end",
            "A 2101, X 1701, delay 20",
            "c1 calls 138; c1 bound; c1 ends; c1 row => unbinding",
        ),
        (
            "after an early unbind X serves others while the call goes on",
            "A 2101, A 2102, X 1701, delay 0",
            "c1 calls 138; c1 bound; c1 answered; c1 unbound; c2 calls 139 => 2102/1701",
        ),
        (
            "an unbind that an operator asks for waits for the platform",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; c1 asked back => ok; c1 row => unbinding; X 1701 => 1; c1 unbound; c1 row => gone",
        ),
        (
            "a forced unbind does not wait",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; c1 forced => ok; c1 row => gone",
        ),
        (
            "an unbind that fails keeps row and X, with the error",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; c1 ends; c1 unbind fails; c1 row => unbinding; X 1701 => 1; error c1 => no answer",
        ),
        (
            "a binding that the platform no longer has is released and counted",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound; c1 ends; c1 missing; c1 row => gone; let go => 1",
        ),
        (
            "an interface may keep it until it is forced",
            "A 2101, X 1701, holds missing",
            "c1 calls 138; c1 bound; c1 ends; c1 missing; c1 row => unbinding; X 1701 => 1; c1 forced; c1 row => gone",
        ),
        (
            "the X in the platform's answer is the one that is booked",
            "A 2101, X 1701 for 0755 only, X 1702 for 0571 only",
            "c1 calls 138; c1 bound as 1702 => ok; X 1701 => 0; X 1702 => 1",
        ),
        (
            "an X that is not ours is refused and its binding released",
            "A 2101, X 1701",
            "c1 calls 138; c1 bound as 1999 => refused; c1 row => unbinding",
        ),
        (
            "a released pair rests before it is leased again",
            "A 2101, X 1701, rest 2000",
            "c1 calls 138; c1 bound; c1 ends; c1 unbound; c2 calls 138 => no number; wait 1999; c2 calls 138 => no number; wait 1; c2 calls 138 => 2101/1701",
        ),
        (
            "other pairs of the two go on meanwhile",
            "A 2101, A 2102, X 1701, rest 2000",
            "c1 calls 138 => */1701; c1 forced; c2 calls 139 => */1701",
        ),
        (
            "a refused number gives another X, twice at most",
            "A 2101, X 1701, X 1702, X 1703, X 1704",
            "c1 calls 138 => 2101/*; c1 fails number => 2101/*; c1 fails number => 2101/*; c1 fails number => bind failed",
        ),
        (
            "then the next gateway",
            "A 2101, X 1701, two gateways",
            "c1 calls 138 => 2101/1701; c1 fails number => 2209/1809; c1 fails number => bind failed",
        ),
        (
            "a refusal that all numbers share goes to the next gateway at once",
            "A 2101, X 1701, X 1702, two gateways",
            "c1 calls 138 => 2101/*; c1 fails platform => 2209/1809",
        ),
        (
            "a bind without answer quarantines its X and goes to the next gateway",
            "A 2101, X 1701 x9, two gateways",
            "c1 calls 138 => 2101/1701; c1 fails unknown => 2209/1809; state 1701 => quarantined; X 1701 => 1",
        ),
        (
            "quarantine ends when the platform confirms",
            "A 2101, X 1701 x9, rest 0",
            "c1 calls 138; c1 fails unknown => bind failed; state 1701 => quarantined; c2 calls 139 => no number; c1 unbound; state 1701 => active; c2 calls 139 => 2101/1701",
        ),
        (
            "or when an operator forces it",
            "A 2101, X 1701 x9",
            "c1 calls 138; c1 fails unknown; c1 forced; state 1701 => active",
        ),
        (
            "a gateway that fails gives the call to the next and its pair back",
            "A 2101, X 1701, two gateways",
            "c1 calls 138; c1 bound; A 2101 => 1; c1 fails 503 => 2209/1809; A 2101 => 0; X 1701 => 1",
        ),
    ]);
}

#[test]
fn relations_live_and_carry_calls_by_these_rules() {
    tell(&[
        // Life
        (
            "a relation is bound when the platform says so",
            "A 2101, X 1701",
            "bind 2101/1701 => ok; relation 2101/1701 => binding; platform binds 2101/1701; relation 2101/1701 => bound",
        ),
        (
            "a bind that is refused leaves the pair to others",
            "A 2101, X 1701",
            "bind 2101/1701; platform refuses 2101/1701; relation 2101/1701 => error; c1 calls 138 => 2101/1701",
        ),
        (
            "a bind without answer keeps it",
            "A 2101, X 1701",
            "bind 2101/1701; platform is silent on 2101/1701; relation 2101/1701 => error; c1 calls 138 => no number",
        ),
        (
            "unbind waits for the platform",
            "A 2101, X 1701, relation 2101/1701",
            "unbind 2101/1701 => ok; relation 2101/1701 => unbinding; platform refuses 2101/1701; relation 2101/1701 => unbinding; platform releases 2101/1701; relation 2101/1701 => unbound",
        ),
        (
            "force does not",
            "A 2101, X 1701, relation 2101/1701",
            "force 2101/1701 => ok; relation 2101/1701 => unbound",
        ),
        (
            "its pair rests when it is released",
            "A 2101, X 1701, rest 2000, relation 2101/1701",
            "force 2101/1701; c1 calls 138 => no number; wait 2000; c1 calls 138 => 2101/1701",
        ),
        (
            "a row is deleted only when the platform has released it",
            "A 2101, X 1701, relation 2101/1701",
            "delete relation 2101/1701 => in use; force 2101/1701; delete relation 2101/1701 => ok",
        ),
        (
            "its X serves bindings with other A numbers",
            "A 2101, A 2102, X 1701, relation 2101/1701",
            "c1 calls 138 => 2102/1701",
        ),
        (
            "a type whose X numbers are exclusive gives such an X to the relation alone",
            "A 2101, A 2102, X 1701 x9, scope x exclusive, relation 2101/1701",
            "c1 calls 138 => no number; bind 2102/1701 => in use",
        ),
        (
            "a number that is called over an X becomes no A there",
            "A 2101, X 1701 x9",
            "c1 calls 2109 => 2101/1701; bind 2109/1701 => in use; c1 ends; c1 unbound; bind 2109/1701 => ok",
        ),
        (
            "a lost node's relation is asked for by another",
            "A 2101, X 1701",
            "bind 2101/1701; node dies; platform binds 2101/1701 => ok; relation 2101/1701 => bound",
        ),
        // Outgoing calls
        (
            "a call goes out over a bound relation and holds a line of A and a slot of X",
            "A 2101, X 1701, relation 2101/1701, allows ax",
            "c1 calls 138 => relation 2101/1701; A 2101 => 1; X 1701 => 1; c1 ends; A 2101 => 0; X 1701 => 0; relation 2101/1701 => bound",
        ),
        (
            "neither allowed: the gateway is not for this customer",
            "A 2101, X 1701, relation 2101/1701, allows none",
            "c1 calls 138 => not allowed",
        ),
        (
            "AXB alone allowed: no relation is used",
            "A 2101, X 1701, relation 2101/1701, allows axb",
            "c1 calls 138 => no number",
        ),
        (
            "AXB comes first, AX when it has no pair",
            "A 2101, A 2102, X 1701 x2, relation 2101/1701, allows both",
            "c1 calls 138 => 2102/1701; c2 calls 139 => relation 2101/1701; c3 calls 137 => no number",
        ),
        (
            "X must be in the interface's list",
            "A 2101, relation 2101/1701, allows ax",
            "c1 calls 138 => no number",
        ),
        (
            "and active",
            "A 2101, X 1701, relation 2101/1701, allows ax",
            "disable 1701; c1 calls 138 => no number",
        ),
        (
            "A must be in the gateway's group",
            "X 1701, relation 2101/1701, allows ax",
            "c1 calls 138 => no number",
        ),
        (
            "X must be permitted for the caller",
            "A 2101, X 1701 for 0571* only, relation 2101/1701, allows ax",
            "c1 calls 138 from 0755 => no number; c2 calls 138 from 0571888 => relation 2101/1701",
        ),
        (
            "rank decides as for bindings",
            "A 2101, X 1701, X 1702 for 0571*, relation 2101/1701, relation 2101/1702, allows ax, mode prefer",
            "c1 calls 138 from 0571888 => relation 2101/1702",
        ),
        (
            "a relation that is being released carries nothing new",
            "A 2101, X 1701, relation 2101/1701, allows ax",
            "unbind 2101/1701; c1 calls 138 => no number",
        ),
        (
            "nobody is called from the own number",
            "A 2101, X 1701, relation 2101/1701, allows ax",
            "c1 calls 2101 => no number",
        ),
        (
            "a callee stands once on an X, also beside bindings",
            "A 2101, A 2102, A 2103, X 1701 x9, relation 2101/1701, allows both",
            "c1 calls 138 => */1701; c2 calls 138 => no number",
        ),
        (
            "limits hold: a line of A",
            "A 2101, X 1701 x9, relation 2101/1701, allows ax",
            "c1 calls 138 => relation 2101/1701; c2 calls 139 => no number",
        ),
        (
            "limits hold: a slot of X",
            "A 2101 x9, X 1701, relation 2101/1701, allows ax",
            "c1 calls 138 => relation 2101/1701; c2 calls 139 => no number",
        ),
        // Turns
        (
            "calls of one X set their callees one after another",
            "A 2101 x9, X 1701 x9, relation 2101/1701, allows ax, sets callees",
            "c1 calls 137 => relation 2101/1701; c2 calls 138 => waiting 2101/1701; c3 calls 139 => waiting 2101/1701; c1 accepted => turn c2; c2 ends => turn c3",
        ),
        (
            "calls of different X numbers do not wait",
            "A 2101 x9, X 1701 x9, X 1702 x9, relation 2101/1701, relation 2101/1702, allows ax, sets callees",
            "c1 calls 137 => relation 2101/*; c2 calls 138 => relation 2101/*; c3 calls 139 => waiting 2101/*",
        ),
        (
            "a type that sets no callees has no turns",
            "A 2101 x9, X 1701 x9, relation 2101/1701, allows ax",
            "c1 calls 137 => relation 2101/1701; c2 calls 138 => relation 2101/1701",
        ),
        (
            "an accepted call no longer keeps others waiting",
            "A 2101 x9, X 1701 x9, relation 2101/1701, allows ax, sets callees",
            "c1 calls 137; c1 accepted => no turn; c2 calls 138 => relation 2101/1701",
        ),
        (
            "whoever waits may leave",
            "A 2101 x9, X 1701 x9, relation 2101/1701, allows ax, sets callees",
            "c1 calls 137; c2 calls 138; c3 calls 139; c2 ends => no turn; c1 accepted => turn c3",
        ),
        (
            "a callee that is refused gives another X",
            "A 2101 x9, X 1701, X 1702, relation 2101/1701, relation 2101/1702, allows ax, sets callees",
            "c1 calls 138 => relation 2101/*; c1 fails number => relation 2101/*; c1 fails number => bind failed",
        ),
    ]);
}
