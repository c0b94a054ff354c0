//! 类型: the platforms that an interface can speak to, and what is wrong or doubtful about an interface.
//!
//! This room knows no vendor. The process lends it a [`Types`]; forms, checks and warnings are made of what that tells.

use serde::{Deserialize, Serialize};
use tandem_cluster::entity::{Conflict, Interface};
use utoipa::ToSchema;

/// What the process knows of platforms. Pure: no I/O, no state.
pub trait Types: Send + Sync {
    /// Every type, by its number.
    fn all(&self) -> Vec<InterfaceType>;

    /// Everything that is wrong or doubtful about an interface as it would be configured, errors first. No secret is in
    /// it.
    fn check(&self, interface: &Interface) -> Vec<Finding>;

    /// The type of this name, or of this number.
    fn find(&self, name: &str) -> Option<InterfaceType> {
        self.all()
            .into_iter()
            .find(|known| known.name == name || known.id.to_string() == name)
    }
}

/// What a form for an interface of one type needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceType {
    /// The number of the type.
    pub id: u32,
    /// What an interface's `type` says.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The address used when the interface's `urls.base` is absent.
    pub base_url: String,
    /// The addresses that `urls` can replace beside `base`.
    pub urls: Vec<TypeUrl>,
    /// What `params` may hold, in the order in which it is best asked for.
    pub params: Vec<TypeParam>,
    /// What the type can do.
    pub policy: TypePolicy,
}

/// One address of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypeUrl {
    /// The key in `urls`.
    pub name: String,
    /// HTTP method.
    pub method: String,
    /// The path below the base address used when the interface names none.
    pub path: String,
}

/// One parameter of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypeParam {
    /// The key in `params`.
    pub name: String,
    /// What its text must look like.
    pub form: Form,
    /// Used when it is absent.
    pub default: Option<String>,
    /// An interface without it is refused.
    pub required: bool,
    /// It is never shown.
    pub secret: bool,
    /// One line for people.
    pub help: String,
}

/// The form of a parameter's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Form {
    /// Printable text.
    Text {
        /// Longest, bytes.
        bytes_max: u64,
    },
    /// A whole number.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// Below this it works, but somebody should know.
        warn_below: Option<WarnBelow>,
    },
    /// One of these words.
    Choice {
        /// The words.
        words: Vec<String>,
    },
}

/// A number that works but is unwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarnBelow {
    /// The least wise one.
    pub least: u64,
    /// What happens below it.
    pub why: String,
}

/// What a type can do, and how its numbers may be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypePolicy {
    /// It has static relations of an A and an X.
    pub ax: bool,
    /// The callee of A's next call can be named, so that AX can call out.
    pub set_callee: bool,
    /// It tells what it holds, so it can be reconciled.
    pub query: bool,
    /// Which bindings of one X exclude each other: `pair`, `x_callee`, `x_exclusive`.
    #[schema(value_type = String)]
    pub conflict: Conflict,
    /// How long the platform needs a released pair (A,X) to rest, milliseconds.
    pub pair_rest_ms: u32,
}

/// Something about an interface that is wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The field, such as `params.expiration`.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; reads on from the field's name.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It works, but somebody should know.
    Warning,
    /// It cannot work, so the interface is refused.
    Error,
}
