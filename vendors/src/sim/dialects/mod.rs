//! One file a vendor. Each says at its head what the vendor's papers leave open and what is done
//! here.

mod aliyun;
mod baidu;
mod china_broadnet;
mod china_mobile_hdh;
mod cloopen;
mod itniotech;
mod jumdata;
mod mixcom;
mod mode101;
mod nxcloud;
mod plivo;
mod tencent;
mod twilio;
mod ungcloud;
mod vcc;
mod volcengine;
mod winnerlook;
mod yiketong;

use super::common::Dialect;

#[cfg(test)]
mod cycles;
#[cfg(test)]
mod cycles_named;
#[cfg(test)]
mod shop;
#[cfg(test)]
mod vectors;

/// All of them, in the order of their words.
pub static ALL: [&Dialect; 18] = [
    &aliyun::DIALECT,
    &baidu::DIALECT,
    &china_broadnet::DIALECT,
    &china_mobile_hdh::DIALECT,
    &cloopen::DIALECT,
    &itniotech::DIALECT,
    &jumdata::DIALECT,
    &mixcom::DIALECT,
    &mode101::DIALECT,
    &nxcloud::DIALECT,
    &plivo::DIALECT,
    &tencent::DIALECT,
    &twilio::DIALECT,
    &ungcloud::DIALECT,
    &vcc::DIALECT,
    &volcengine::DIALECT,
    &winnerlook::DIALECT,
    &yiketong::DIALECT,
];
