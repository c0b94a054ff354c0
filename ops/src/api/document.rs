//! The OpenAPI document, made from the same structs that requests are read into.

use super::problem::Problem;
use super::{Shared, files};
use crate::dto::{self, TABLES};
use crate::import::{self, BadRow, Progress};
use crate::seed::Report;
use crate::types::{self, InterfaceType};
use actix_web::{HttpResponse, web};
use tandem_cluster::entity::Table;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

pub async fn show(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(shared.document.clone())
}

/// The document as JSON.
pub fn json() -> String {
    // A document is plain data, which JSON always holds.
    serde_json::to_string(&document()).unwrap_or_default()
}

/// One operation that is not of a table.
struct Plain {
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    /// Fields of the JSON body and whether each must be there.
    body: &'static [(&'static str, bool)],
}

const fn get(path: &'static str, summary: &'static str, query: &'static [&'static str]) -> Plain {
    Plain {
        method: HttpMethod::Get,
        path,
        summary,
        query,
        body: &[],
    }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    body: &'static [(&'static str, bool)],
) -> Plain {
    Plain {
        method: HttpMethod::Post,
        path,
        summary,
        query: &[],
        body,
    }
}

const PAGE: &[&str] = &["limit", "cursor", "sort"];
const RECORDS: &[&str] = &[
    "limit",
    "cursor",
    "newest_first",
    "since",
    "until",
    "account",
    "axb_account",
    "caller",
    "callee",
    "x",
    "a",
    "gateway",
    "end_reason",
    "flow_no",
];
const EXPORT: &[&str] = &[
    "format",
    "since",
    "until",
    "account",
    "axb_account",
    "caller",
    "callee",
    "x",
    "a",
    "gateway",
    "end_reason",
    "flow_no",
];

const PLAIN: &[Plain] = &[
    get("/openapi.json", "This document.", &[]),
    get(
        "/status",
        "Counters of this node, or of the node named.",
        &["node"],
    ),
    get("/cluster", "Leader, term and nodes.", &[]),
    post(
        "/cluster/drain",
        "A node takes no new calls.",
        &[("node", true)],
    ),
    post(
        "/cluster/undrain",
        "A node takes calls again.",
        &[("node", true)],
    ),
    post(
        "/cluster/snapshot",
        "Writes a snapshot on one node or on all.",
        &[("node", false)],
    ),
    post(
        "/cluster/upgrade",
        "Lets the cluster rise to the level that all nodes speak, or with `hold` keeps it where it is. Answers at once;          it rises when every node has spoken the level for ten seconds.",
        &[("hold", false)],
    ),
    post(
        "/cluster/add",
        "One step of adding a node: 202 while it catches up, 200 once it votes; repeat it until then. With `replaces` \
         that node leaves when the new one gets its vote.",
        &[("node", true), ("address", true), ("replaces", false)],
    ),
    post(
        "/cluster/remove",
        "A node leaves the cluster for good; its id is never given again.",
        &[("node", true), ("force", false)],
    ),
    post(
        "/cluster/move",
        "A node, which answers at that address already, is reached there from now on.",
        &[("node", true), ("address", true)],
    ),
    post(
        "/cluster/transfer-leader",
        "Hands leadership to the node named, or to any other.",
        &[("node", false)],
    ),
    post(
        "/backup",
        "The replicated state as a file, with `records` also what has left it of calls. Holds the secrets of platforms.",
        &[("records", false)],
    ),
    get(
        "/devices",
        "AXB 设备: the nodes that ever claimed an access name.",
        PAGE,
    ),
    get("/devices/{name}", "One device.", &[]),
    Plain {
        method: HttpMethod::Patch,
        path: "/devices/{name}",
        summary: "Changes label, settings or draining of a device.",
        query: &[],
        body: &[("label", false), ("settings", false), ("draining", false)],
    },
    post(
        "/devices/{name}/info",
        "系统信息: counters of a device.",
        &[],
    ),
    post(
        "/devices/{name}/sync",
        "同步数据: compares a device's tables with the leader's at one entry, and repairs it where it differs.",
        &[("repair", false)],
    ),
    get("/bindings", "AXB 当前绑定.", PAGE),
    get("/bindings/{id}", "One binding.", &[]),
    post(
        "/bindings/{id}/unbind",
        "解除绑定: the row goes when the platform lets go.",
        &[],
    ),
    post(
        "/bindings/{id}/force-unbind",
        "强制解绑: the row goes whatever the platform says.",
        &[],
    ),
    post(
        "/ax-bindings/{name}/bind",
        "AX 绑定: the row's state tells what came of it.",
        &[],
    ),
    post(
        "/ax-bindings/{name}/unbind",
        "解除绑定: unbound once the platform says so.",
        &[],
    ),
    post(
        "/ax-bindings/{name}/force-unbind",
        "强制解绑: unbound at once, whatever the platform says.",
        &[],
    ),
    post(
        "/interfaces/{name}/reconcile",
        "Compares what the platform holds with what is held here; lines of JSON, `progress` and at the end `result`.",
        &[],
    ),
    get(
        "/interfaces/{name}/exchanges",
        "The last requests to the platform and its answers, masked, of one node or of all; looking makes all of the next \
         seconds be kept.",
        &["node"],
    ),
    get(
        "/interfaces/{name}/status",
        "How the interface does on each node: breaker, clock, requests under way, share of the rate.",
        &[],
    ),
    post(
        "/interfaces/{name}/test",
        "Binds and unbinds a spare number; `passed` and `verdict` tell what came of it, `steps` every request and answer.",
        &[
            ("a", false),
            ("x", false),
            ("b", false),
            ("within_secs", false),
        ],
    ),
    post(
        "/route-test",
        "Every decision about a call that is not made.",
        &[
            ("from", true),
            ("caller", true),
            ("callee", true),
            ("seed", false),
        ],
    ),
    get("/calls", "Calls in progress.", PAGE),
    get("/calls/{id}", "One call.", &[]),
    post("/calls/{id}/hangup", "Ends a call.", &[]),
    get("/cdrs", "话单.", RECORDS),
    get(
        "/cdrs/export",
        "话单 as JSON lines or CSV, in the order stored.",
        EXPORT,
    ),
    get("/axb-cdrs", "AXB 历史话单.", RECORDS),
    get(
        "/axb-cdrs/export",
        "AXB 历史话单 as JSON lines or CSV, in the order stored.",
        EXPORT,
    ),
    get(
        "/reports/axb-settlement",
        "AXB 结算报表.",
        &[
            "since",
            "until",
            "period",
            "account",
            "offset_min",
            "limit",
            "cursor",
        ],
    ),
    get(
        "/reports/platform-bills",
        "What platforms billed against what was rated, differences first: only_ours, only_theirs, differs, equal. \
         `totals` beside the items are those of the whole range.",
        &[
            "since",
            "until",
            "interface",
            "tolerance_secs",
            "tolerance_cost",
            "differences",
            "limit",
            "cursor",
        ],
    ),
    get(
        "/platform-events",
        "What platforms told of calls, each with the call that it is about.",
        &[
            "limit",
            "cursor",
            "newest_first",
            "since",
            "until",
            "interface",
            "kind",
            "flow_no",
            "matched",
        ],
    ),
    get("/payments", "缴费记录.", PAGE),
    post(
        "/payments",
        "缴费: moves money.",
        &[("account", true), ("amount", true), ("memo", false)],
    ),
    get("/audit", "Who changed what.", PAGE),
    import(
        "/x-numbers/import",
        "X numbers from a file, checked whole before any is applied; a line of progress for each 2,000, the last with \
         the report.",
        &["format", "interface", "update", "dry_run"],
    ),
    get(
        "/x-numbers/export",
        "X numbers as a file in the form that an import takes; conditions on fields as in a list.",
        &["format", "labels"],
    ),
    import(
        "/a-numbers/import",
        "A numbers from a file, as X numbers are.",
        &["format", "group", "update", "dry_run"],
    ),
    get(
        "/a-numbers/export",
        "A numbers as a file in the form that an import takes; conditions on fields as in a list.",
        &["format", "labels"],
    ),
    get("/regions", "手机地区: the mobile prefixes in force.", PAGE),
    get(
        "/regions/{number}",
        "Where a number belongs: by its area code, or by its mobile prefix.",
        &[],
    ),
    import(
        "/regions/import",
        "Mobile prefixes from a table or from phone.dat; all of them come in force at once.",
        &["format", "replace", "dry_run"],
    ),
    get(
        "/regions/export",
        "The mobile prefixes as a file in the form that an import takes.",
        &["format", "labels"],
    ),
    get(
        "/interface-types",
        "类型: what an interface can be, with parameters and addresses.",
        PAGE,
    ),
    get(
        "/interface-types/{name}",
        "One type, by name or number.",
        &[],
    ),
    post(
        "/seed",
        "Makes the cluster hold the rows of a seed file (TOML).",
        &[],
    ),
];

const fn import(
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
) -> Plain {
    Plain {
        method: HttpMethod::Post,
        path,
        summary,
        query,
        body: &[],
    }
}

/// The whole document.
pub fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for plain in PLAIN {
        paths = paths.path(
            format!("/api/v1{}", plain.path),
            PathItem::new(plain.method.clone(), operation(plain)),
        );
    }
    for table in TABLES {
        let (many, one) = table_paths(table);
        paths = paths.path(format!("/api/v1/{}", dto::path(table)), many);
        paths = paths.path(format!("/api/v1/{}/{{name}}", dto::path(table)), one);
    }
    let mut components = ComponentsBuilder::new()
        .schema(Problem::name(), Problem::schema())
        .schema(Report::name(), Report::schema())
        .schema(BadRow::name(), BadRow::schema())
        .schema(Progress::name(), Progress::schema())
        .schema(import::Report::name(), import::Report::schema())
        .schema(InterfaceType::name(), InterfaceType::schema())
        .schema(types::TypeUrl::name(), types::TypeUrl::schema())
        .schema(types::TypeParam::name(), types::TypeParam::schema())
        .schema(types::TypePolicy::name(), types::TypePolicy::schema())
        .schema(types::Form::name(), types::Form::schema())
        .schema(types::WarnBelow::name(), types::WarnBelow::schema())
        .schema(dto::PrefixList::name(), dto::PrefixList::schema())
        .schema(dto::Section::name(), dto::Section::schema())
        .schema(dto::XState::name(), dto::XState::schema())
        .schema(dto::HttpVersion::name(), dto::HttpVersion::schema())
        .schema(dto::Protocol::name(), dto::Protocol::schema())
        .security_scheme(
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
    for table in TABLES {
        components = components.schema(schema_name(table), schema(table));
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tandem admin API")
                .version("v1")
                .description(Some(
                    "Amounts are decimal strings, times RFC 3339 UTC with milliseconds. Lists answer `items` and \
                     `next_cursor`; any field of a row may be a query parameter that rows must equal, or begin with \
                     when it ends in `*`. Rows refer to each other by name; `<field>_id` stands beside each and may \
                     be written instead. Every row has `id`, `version`, `created_at` and `updated_at`. With the \
                     header `Idempotency-Key` a repeated change answers as the first time.",
                ))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("token", std::iter::empty::<String>())]))
        .build()
}

fn operation(plain: &Plain) -> OperationBuilder {
    let tag = plain.path.split('/').nth(1).unwrap_or_default();
    let mut operation = OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(identity(&plain.method, plain.path)))
        .summary(Some(plain.summary));
    for part in plain
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    {
        operation = operation.parameter(in_path(part));
    }
    for name in plain.query {
        operation = operation.parameter(in_query(name));
    }
    if !plain.body.is_empty() {
        let mut object = ObjectBuilder::new();
        for (field, needed) in plain.body {
            let kind = match *field {
                "settings" => Type::Object,
                "draining" | "repair" => Type::Boolean,
                _ => Type::String,
            };
            object = object.property(*field, of(kind));
            if *needed {
                object = object.required(*field);
            }
        }
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .content(
                    "application/json",
                    Content::new(Some(RefOr::T(Schema::Object(object.build())))),
                )
                .required(Some(Required::True))
                .build(),
        ));
    }
    let answer = match plain.path {
        "/seed" => {
            operation = operation.request_body(Some(
                RequestBodyBuilder::new()
                    .content("application/toml", Content::new(Some(of(Type::String))))
                    .build(),
            ));
            RefOr::Ref(Ref::from_schema_name(Report::name()))
        }
        path if path.ends_with("/import") => {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            for media in files::medias(path) {
                body = body.content(*media, Content::new(Some(of(Type::String))));
            }
            operation = operation.request_body(Some(body.build()));
            RefOr::Ref(Ref::from_schema_name(Progress::name()))
        }
        "/interface-types" => page_of(RefOr::Ref(Ref::from_schema_name(InterfaceType::name()))),
        "/interface-types/{name}" => RefOr::Ref(Ref::from_schema_name(InterfaceType::name())),
        path if !path.ends_with("/export") && plain.query.contains(&"cursor") => {
            page_of(of(Type::Object))
        }
        _ => of(Type::Object),
    };
    let (status, kind) = match (&plain.method, plain.path) {
        (HttpMethod::Post, "/payments") => ("201", "application/json"),
        (HttpMethod::Post, path) if path.ends_with("/unbind") || path.ends_with("/hangup") => {
            ("202", "application/json")
        }
        (_, path) if path.ends_with("cdrs/export") || path.ends_with("/import") => {
            ("200", "application/x-ndjson")
        }
        (_, path) if path.ends_with("/export") => ("200", "text/csv"),
        _ => ("200", "application/json"),
    };
    problems(operation).response(
        status,
        ResponseBuilder::new()
            .description("Done.")
            .content(kind, Content::new(Some(answer)))
            .build(),
    )
}

fn table_paths(table: Table) -> (PathItem, PathItem) {
    let (path, noun) = (dto::path(table), dto::noun(table));
    let row = || RefOr::Ref(Ref::from_schema_name(schema_name(table)));
    let shown = |answer| {
        ResponseBuilder::new()
            .description("Done.")
            .content("application/json", Content::new(Some(answer)))
            .build()
    };
    let begin = |method: HttpMethod, path: &str, summary: String| {
        let operation = OperationBuilder::new()
            .tag(dto::path(table))
            .operation_id(Some(identity(&method, path)))
            .summary(Some(summary));
        problems(operation)
    };
    let body = || {
        RequestBodyBuilder::new()
            .content("application/json", Content::new(Some(row())))
            .required(Some(Required::True))
            .build()
    };
    let one = format!("/{path}/{{name}}");
    let mut many = PathItem::new(
        HttpMethod::Get,
        begin(
            HttpMethod::Get,
            &format!("/{path}"),
            format!("Lists {noun}s."),
        )
        .parameter(in_query("limit"))
        .parameter(in_query("cursor"))
        .parameter(in_query("sort"))
        .response("200", shown(page_of(row()))),
    );
    many.merge_operations(PathItem::new(
        HttpMethod::Post,
        begin(
            HttpMethod::Post,
            &format!("/{path}"),
            format!("Makes a row: {noun}."),
        )
        .request_body(Some(body()))
        .response("201", shown(row())),
    ));
    let item = |method: HttpMethod, summary: &str| {
        begin(method, &one, format!("{summary}: {noun}.")).parameter(in_path("name"))
    };
    let mut item_path = PathItem::new(
        HttpMethod::Get,
        item(HttpMethod::Get, "Shows a row").response("200", shown(row())),
    );
    for (method, summary) in [
        (HttpMethod::Put, "Replaces a row"),
        (HttpMethod::Patch, "Changes fields of a row"),
    ] {
        let operation = item(method.clone(), summary)
            .request_body(Some(body()))
            .response("200", shown(row()));
        item_path.merge_operations(PathItem::new(method, operation));
    }
    item_path.merge_operations(PathItem::new(
        HttpMethod::Delete,
        item(HttpMethod::Delete, "Removes a row")
            .parameter(in_query("version"))
            .response(
                "204",
                ResponseBuilder::new().description("Removed.").build(),
            ),
    ));
    (many, item_path)
}

fn problems(operation: OperationBuilder) -> OperationBuilder {
    let problem = || {
        ResponseBuilder::new()
            .description("Refused; `code` says why.")
            .content(
                "application/problem+json",
                Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(
                    Problem::name(),
                )))),
            )
            .build()
    };
    operation
        .response("4XX", problem())
        .response("5XX", problem())
}

fn page_of(row: RefOr<Schema>) -> RefOr<Schema> {
    let next = ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
        .build();
    RefOr::T(Schema::Object(
        ObjectBuilder::new()
            .property("items", ArrayBuilder::new().items(row))
            .property("next_cursor", next)
            .required("items")
            .required("next_cursor")
            .build(),
    ))
}

fn of(kind: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(kind))
            .build(),
    ))
}

fn in_query(name: &str) -> ParameterBuilder {
    let kind = match name {
        "limit" | "version" | "offset_min" | "tolerance_secs" => Type::Integer,
        "newest_first" | "update" | "dry_run" | "replace" | "labels" | "matched"
        | "differences" => Type::Boolean,
        _ => Type::String,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .schema(Some(of(kind)))
}

fn in_path(name: &str) -> ParameterBuilder {
    let kind = if name == "id" {
        Type::Integer
    } else {
        Type::String
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(of(kind)))
}

/// A name for programs that are made from the document: `get_bindings_id`.
fn identity(method: &HttpMethod, path: &str) -> String {
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        _ => "delete",
    };
    let words = path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |name, word| name + "_" + word)
}

fn schema_name(table: Table) -> String {
    match table {
        Table::Interfaces => dto::Interface::name(),
        Table::XNumbers => dto::XNumber::name(),
        Table::AGroups => dto::AGroup::name(),
        Table::ANumbers => dto::ANumber::name(),
        Table::MappingGateways => dto::MappingGateway::name(),
        Table::RoutingGateways => dto::RoutingGateway::name(),
        Table::Accounts => dto::Account::name(),
        Table::FeeRates => dto::FeeRate::name(),
        Table::AxBindings => dto::AxBinding::name(),
    }
    .into_owned()
}

/// The fields of a table's rows.
pub(crate) fn schema(table: Table) -> RefOr<Schema> {
    match table {
        Table::Interfaces => dto::Interface::schema(),
        Table::XNumbers => dto::XNumber::schema(),
        Table::AGroups => dto::AGroup::schema(),
        Table::ANumbers => dto::ANumber::schema(),
        Table::MappingGateways => dto::MappingGateway::schema(),
        Table::RoutingGateways => dto::RoutingGateway::schema(),
        Table::Accounts => dto::Account::schema(),
        Table::FeeRates => dto::FeeRate::schema(),
        Table::AxBindings => dto::AxBinding::schema(),
    }
}
