//! What every definition must do, and Huawei's in particular, which calls depend on most.

mod answers;
mod docs;
mod huawei;
mod mistakes;
