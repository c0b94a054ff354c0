//! One file a vendor. Each says at its head what the vendor's papers leave open and what is done
//! here.

mod aliyun;
mod plivo;
mod tencent;
mod twilio;
mod volcengine;

use super::common::Dialect;

#[cfg(test)]
mod cycles;
#[cfg(test)]
mod vectors;

/// All of them, in the order of their words.
pub static ALL: [&Dialect; 5] = [
    &aliyun::DIALECT,
    &plivo::DIALECT,
    &tencent::DIALECT,
    &twilio::DIALECT,
    &volcengine::DIALECT,
];
