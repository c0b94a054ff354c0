//! Money that operators move.

use super::{Deed, PAYMENTS_MAX, Paid, PaidAs, State};
use crate::command::{Payment, Refusal, Reply};
use crate::entity::{Id, Micros};
use std::sync::Arc;

/// Largest balance and largest payment, either way: a thousand million units.
pub(super) const MONEY_MAX: Micros = 1_000_000_000_000_000;
/// Bytes of a payment's memo.
const MEMO_MAX: usize = 1_000;

impl State {
    pub(super) fn pay(&mut self, payment: &Payment) -> Reply {
        if let Some(reply) = self.lookup().requests.get(&payment.request) {
            return reply.clone();
        }
        let reply = Reply::from(self.pay_now(payment));
        self.remember(payment.request, &reply);
        reply
    }

    fn pay_now(&mut self, payment: &Payment) -> Result<Reply, Refusal> {
        let invalid = |text: &str| Refusal::Invalid {
            field: "amount".to_owned(),
            text: text.to_owned(),
        };
        if !self.content.accounts.contains_key(&payment.account) {
            return Err(Refusal::NotFound);
        }
        if payment.amount == 0 || !(-MONEY_MAX..=MONEY_MAX).contains(&payment.amount) {
            return Err(invalid("must not be zero nor beyond a thousand million"));
        }
        if payment.memo.len() > MEMO_MAX {
            return Err(Refusal::Invalid {
                field: "memo".to_owned(),
                text: format!("at most {MEMO_MAX} bytes"),
            });
        }
        let (money, _) = self.account_balance(payment.account);
        let balance = money
            .checked_add(payment.amount)
            .filter(|now| (-MONEY_MAX..=MONEY_MAX).contains(now));
        let balance =
            balance.ok_or_else(|| invalid("balance would lie beyond a thousand million"))?;
        self.content.money.insert(payment.account, balance);
        let kind = if payment.amount > 0 {
            PaidAs::Recharge
        } else {
            PaidAs::Deduct
        };
        self.record_payment(
            &payment.actor,
            payment.account,
            kind,
            payment.amount,
            &payment.memo,
        );
        self.note(
            &payment.actor,
            Deed::Pay {
                account: payment.account,
                amount: payment.amount,
            },
            None,
            None,
        );
        Ok(Reply::Balance(balance))
    }

    /// Writes 缴费记录 with the balance as it stands now.
    pub(super) fn record_payment(
        &mut self,
        actor: &str,
        account: Id,
        kind: PaidAs,
        amount: Micros,
        memo: &str,
    ) {
        self.content.payment_last += 1;
        let paid = Paid {
            number: self.content.payment_last,
            at: self.content.at,
            actor: super::model::cut(actor, 128).to_owned(),
            account,
            account_number: self
                .account(account)
                .map(|row| row.entity.account.clone())
                .unwrap_or_default(),
            kind,
            amount,
            balance: self.account_balance(account).0,
            memo: memo.to_owned(),
        };
        self.content.payments.push_back(Arc::new(paid));
        if self.content.payments.len() > PAYMENTS_MAX {
            self.content.payments.pop_front();
        }
    }
}
