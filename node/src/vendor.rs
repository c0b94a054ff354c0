//! `tandem vendor`: the definitions of platforms, without a server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use tandem_ops::cli::Output;
use tandem_vendors::Vendor;
use tandem_vendors::definition::{Catalogue, CatalogueError, Definition, FUNCTIONS, read_file};

use crate::start::chain;

/// `tandem vendor …`
#[derive(Clone, Debug, Subcommand)]
pub enum VendorVerb {
    /// The platforms there are
    List {
        /// Folder of further definitions, as `vendors.definitions` of a node file
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// One platform: what can be asked of it, its parameters, what its answers mean
    Show {
        /// Its name
        name: String,
        /// Print the definition itself, a model for another one
        #[arg(long, conflicts_with = "definitions")]
        source: bool,
        /// Folder of further definitions, as `vendors.definitions` of a node file
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Read a definition and name line and column of every mistake
    Check {
        /// The file
        file: PathBuf,
    },
    /// The functions that a definition's expressions may use
    Functions,
}

/// Why a command failed: its exit code and what is said.
struct Failed(u8, String);

/// Carries a command out.
pub fn run(verb: &VendorVerb, output: Option<Output>) -> ExitCode {
    let mut out = io::stdout().lock();
    match carry_out(verb, output.unwrap_or(Output::Table), &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(code, said)) => {
            eprintln!("{said}");
            ExitCode::from(code)
        }
    }
}

fn carry_out(verb: &VendorVerb, output: Output, out: &mut impl Write) -> Result<(), Failed> {
    let written = match verb {
        VendorVerb::List { definitions } => {
            load(definitions.as_deref())?;
            print(
                out,
                output,
                LIST,
                Vendor::all().into_iter().map(listed).collect(),
            )
        }
        VendorVerb::Show {
            name, source: true, ..
        } => match Catalogue::text_of(name) {
            Some(text) => out.write_all(text.as_bytes()),
            None => return Err(unknown(name)),
        },
        VendorVerb::Show {
            name, definitions, ..
        } => {
            load(definitions.as_deref())?;
            let vendor = Vendor::named(name).ok_or_else(|| unknown(name))?;
            show(out, output, vendor)
        }
        VendorVerb::Check { file } => {
            let definition = read_file(file).map_err(|error| failed(&error))?;
            writeln!(out, "{}: ok, {}", file.display(), summary(&definition))
        }
        VendorVerb::Functions => {
            let row = |function: &tandem_vendors::definition::Function| {
                json!({
                    "name": function.name,
                    "arguments": function.args,
                    "turns": function.turns,
                    "help": function.help,
                })
            };
            let columns = &["name", "arguments", "turns", "help"];
            print(out, output, columns, FUNCTIONS.iter().map(row).collect())
        }
    };
    // A reader that has seen enough, such as `head`, is no failure.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed(1, format!("tandem: {error}")))
        }
        _ => Ok(()),
    }
}

fn load(folder: Option<&Path>) -> Result<(), Failed> {
    match folder {
        None => Ok(()),
        Some(folder) => Catalogue::with_folder(folder)
            .and_then(Catalogue::install)
            .map_err(|error| failed(&error)),
    }
}

fn failed(error: &CatalogueError) -> Failed {
    match error {
        CatalogueError::Wrong(_) | CatalogueError::TooMany { .. } => Failed(2, error.to_string()),
        CatalogueError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failed(3, format!("tandem: {}", chain(error)))
        }
        error => Failed(1, format!("tandem: {}", chain(error))),
    }
}

fn unknown(name: &str) -> Failed {
    let known: Vec<_> = Vendor::all().into_iter().map(Vendor::name).collect();
    let known = known.join(", ");
    Failed(3, format!("tandem: no vendor `{name}`, there are: {known}"))
}

const LIST: &[&str] = &[
    "id",
    "name",
    "title",
    "can",
    "conflict",
    "recovers by",
    "base_url",
];

/// What can be asked of it, in words.
fn abilities(definition: &Definition) -> Vec<&str> {
    let ops = definition.operations.iter();
    let ops = ops.map(|operation| operation.op.word());
    let asked = definition.questions.iter();
    ops.chain(asked.map(|question| question.name.as_str()))
        .collect()
}

fn summary(definition: &Definition) -> String {
    let can = abilities(definition).join(", ");
    let asks = if definition.policy.asks { "asks " } else { "" };
    format!("{} ({}): {asks}{can}", definition.name, definition.title)
}

fn listed(vendor: Vendor) -> Value {
    let definition = vendor.describe();
    let policy = vendor.policy();
    let mut can = vec!["axb"];
    can.extend(policy.ax.then_some("ax"));
    can.extend(policy.set_callee.then_some("callee"));
    can.extend(policy.query.then_some("query"));
    can.extend(policy.asks.then_some("asks"));
    json!({
        "id": definition.id,
        "name": definition.name,
        "title": definition.title,
        "can": can.join(" "),
        "conflict": policy.conflict.word(),
        "recovers by": if policy.asks { String::new() } else { recovery(definition) },
        "base_url": definition.base_url,
    })
}

fn recovery(definition: &Definition) -> String {
    let ways = serde_json::to_value(&definition.handling.recover).unwrap_or_default();
    let ways = ways.as_array().cloned().unwrap_or_default();
    let words: Vec<_> = ways.iter().filter_map(Value::as_str).collect();
    words.join(" ")
}

fn show(out: &mut impl Write, output: Output, vendor: Vendor) -> io::Result<()> {
    let definition = vendor.describe();
    let operations: Vec<Value> = definition
        .operations
        .iter()
        .map(|operation| {
            json!({
                "operation": operation.op.word(),
                "method": operation.method.word(),
                "path": operation.path,
            })
        })
        .collect();
    let callbacks: Vec<Value> = definition
        .callbacks
        .iter()
        .map(|callback| {
            json!({
                "callback": callback.name,
                "method": callback.method.word(),
                "help": callback.help,
            })
        })
        .collect();
    let questions: Vec<Value> = definition
        .questions
        .iter()
        .map(|question| {
            json!({
                "question": question.name,
                "method": question.method.word(),
                "help": question.help,
            })
        })
        .collect();
    let params: Vec<Value> = definition
        .params
        .iter()
        .map(|param| {
            json!({
                "parameter": param.name,
                "form": param.form.to_string(),
                "default": param.default,
                "needed": param.required,
                "secret": param.secret,
                "help": param.help,
            })
        })
        .collect();
    let rules: Vec<Value> = definition
        .rules()
        .into_iter()
        .map(|rule| {
            json!({"answer": rule.when, "class": rule.class, "then": rule.then, "means": rule.means})
        })
        .collect();
    if output != Output::Table {
        let thing = json!({
            "id": definition.id,
            "name": definition.name,
            "title": definition.title,
            "base_url": definition.base_url,
            "source": definition.source,
            "policy": definition.policy,
            "handling": definition.handling,
            "operations": operations,
            "questions": questions,
            "callbacks": callbacks,
            "params": params,
            "rules": rules,
        });
        return writeln!(out, "{thing:#}");
    }
    let handling = &definition.handling;
    writeln!(
        out,
        "{} (type {}): {}",
        definition.name, definition.id, definition.title
    )?;
    if !definition.base_url.is_empty() {
        writeln!(out, "{}", definition.base_url)?;
    }
    writeln!(out, "from: {}", definition.source)?;
    write!(
        out,
        "conflict {}, pairs rest {} ms",
        definition.policy.conflict.word(),
        definition.policy.pair_rest_ms,
    )?;
    if definition.policy.asks {
        write!(out, ", stores nothing and asks for each call")?;
    } else {
        write!(out, ", lost binds: {}", recovery(definition))?;
    }
    if let Some(rate) = handling.rate_per_s {
        write!(out, ", at most {rate} requests/s")?;
    }
    if let Some(most) = handling.bindings_per_x_max {
        write!(out, ", {most} bindings per X")?;
    }
    if handling.counted {
        write!(out, ", counts equal binds")?;
    }
    writeln!(out, "\n")?;
    if definition.policy.asks {
        let columns = &["question", "method", "help"];
        print(out, output, columns, questions)?;
    } else {
        print(out, output, &["operation", "method", "path"], operations)?;
    }
    if !callbacks.is_empty() {
        writeln!(out)?;
        print(out, output, &["callback", "method", "help"], callbacks)?;
    }
    writeln!(out)?;
    let columns = &["parameter", "form", "default", "needed", "secret", "help"];
    print(out, output, columns, params)?;
    if rules.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    print(out, output, &["answer", "class", "then", "means"], rules)
}

/// Rows: aligned for people, or JSON, one document or one object a line.
fn print(
    out: &mut impl Write,
    output: Output,
    columns: &[&str],
    rows: Vec<Value>,
) -> io::Result<()> {
    match output {
        Output::Json => return writeln!(out, "{:#}", Value::Array(rows)),
        Output::Table => {}
        _ => {
            for row in rows {
                writeln!(out, "{row}")?;
            }
            return Ok(());
        }
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|column| column.to_uppercase()));
    for row in &rows {
        table.add_row(columns.iter().map(|column| match &row[*column] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            Value::Bool(flag) => if *flag { "yes" } else { "" }.to_owned(),
            other => other.to_string(),
        }));
    }
    for line in table.lines() {
        // Every cell has a blank before it, the first one too.
        let line = line.trim_end();
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(verb: &VendorVerb, output: Output) -> Result<String, (u8, String)> {
        let mut out = Vec::new();
        carry_out(verb, output, &mut out).map_err(|Failed(code, said)| (code, said))?;
        Ok(String::from_utf8(out).expect("it is text"))
    }

    #[test]
    fn every_vendor_is_listed_and_shown() {
        let list = VendorVerb::List { definitions: None };
        let table = said(&list, Output::Table).expect("it is built in");
        for vendor in Vendor::all() {
            assert!(table.contains(vendor.name()), "{table}");
            let show = VendorVerb::Show {
                name: vendor.name().to_owned(),
                source: false,
                definitions: None,
            };
            let table = said(&show, Output::Table).expect("it is built in");
            let tables = match vendor.policy().asks {
                true => ["QUESTION", "asks for each call"],
                false => ["OPERATION", "bind"],
            };
            assert!(tables.iter().all(|part| table.contains(part)), "{table}");
            let json = said(&show, Output::Json).expect("it is built in");
            let json: Value = serde_json::from_str(&json).expect("it is json");
            assert_eq!(json["name"], vendor.name());
        }
    }

    #[test]
    fn a_definition_is_checked_with_file_line_and_column() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("own.toml");
        let model = VendorVerb::Show {
            name: "vcc".to_owned(),
            source: true,
            definitions: None,
        };
        let model = said(&model, Output::Table).expect("it is built in");
        let check = VendorVerb::Check { file: file.clone() };
        std::fs::write(&file, &model).expect("a file");
        assert!(
            said(&check, Output::Table)
                .expect("it is sound")
                .contains(": ok, vcc")
        );
        std::fs::write(&file, model.replacen("id = 6", "id = six", 1)).expect("a file");
        let (code, told) = said(&check, Output::Table).expect_err("it is wrong");
        assert_eq!(code, 2);
        assert!(
            told.starts_with(&format!("{}:3:6: ", file.display())),
            "{told}"
        );
        let missing = VendorVerb::Check {
            file: folder.path().join("none.toml"),
        };
        assert_eq!(
            said(&missing, Output::Table).expect_err("it is missing").0,
            3
        );
        let nobody = VendorVerb::Show {
            name: "nobody".to_owned(),
            source: false,
            definitions: None,
        };
        assert_eq!(
            said(&nobody, Output::Table).expect_err("there is none").0,
            3
        );
    }
}
