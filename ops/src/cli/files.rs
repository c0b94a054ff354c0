//! Whole files in and out: `x import`, `x export`, and the same of A numbers and regions.

use super::args::{ListArgs, RowVerb};
use super::http::{Client, Request, refused};
use super::print::Printer;
use super::{CliError, Exit, Output, complain, fields};
use crate::api::problem::Problem;
use crate::import::Progress;
use crate::sheet::{Format, Limits};
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, Response};
use serde_json::json;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// Verbs of X numbers.
#[derive(Clone, Debug, Subcommand)]
pub enum XVerb {
    #[command(flatten)]
    Rows(RowVerb),
    /// Brings in the X numbers of a CSV or XLSX file: all of them, or none while one is wrong.
    Import {
        /// Interface of the rows that name none in a column 接口名称 (interface).
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
        #[command(flatten)]
        file: ImportArgs,
    },
    /// Writes the X numbers that fit in the form that an import takes.
    Export(ExportArgs),
}

/// Verbs of A numbers.
#[derive(Clone, Debug, Subcommand)]
pub enum AVerb {
    #[command(flatten)]
    Rows(RowVerb),
    /// Brings in the A numbers of a CSV or XLSX file: all of them, or none while one is wrong.
    Import {
        /// A group of the rows that name none in a column A 号码组 (group).
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        #[command(flatten)]
        file: ImportArgs,
    },
    /// Writes the A numbers that fit in the form that an import takes.
    Export(ExportArgs),
}

/// `tandem region …`
#[derive(Clone, Debug, Subcommand)]
pub enum RegionVerb {
    /// Mobile prefixes that fit.
    List(ListArgs),
    /// Where a number belongs.
    Lookup {
        /// The number, as dialled.
        number: String,
    },
    /// Brings in the mobile prefixes of a file; all of them come in force at once.
    Import {
        /// The file, `-` for standard input.
        file: PathBuf,
        /// Its form; by its ending when left out.
        #[arg(long, value_enum)]
        format: Option<RegionForm>,
        /// The file is the whole table: prefixes that it does not hold go.
        #[arg(long)]
        replace: bool,
        /// Checks the file and changes nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        bar: BarArgs,
    },
    /// Writes the mobile prefixes in the form that an import takes.
    Export {
        #[command(flatten)]
        to: ToArgs,
    },
}

/// What a file of numbers is.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The file, `-` for standard input; columns are known by their field (number) or label (电话号码).
    file: PathBuf,
    /// Its form; by its ending when left out.
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Checks the file and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Numbers that are there already are changed; columns that the file does not have stay as they are.
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    bar: BarArgs,
}

/// Whether a bar is shown.
#[derive(Clone, Debug, Args)]
pub struct BarArgs {
    /// Shows how far it is, on a terminal only.
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_value = "auto", default_missing_value = "auto")]
    progress: When,
}

/// When something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Never.
    Never,
}

/// What is exported.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Conditions; a value that ends in `*` fits by its beginning.
    #[arg(value_name = "FIELD=VALUE")]
    filters: Vec<String>,
    #[command(flatten)]
    to: ToArgs,
}

/// Where an export goes.
#[derive(Clone, Debug, Args)]
pub struct ToArgs {
    /// Write to this file instead of standard output; its ending tells the form when `-o` does not.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name the columns as the console does (电话号码) instead of by field (number).
    #[arg(long)]
    labels: bool,
}

/// Forms of a file of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Comma-separated values.
    Csv,
    /// Excel workbook.
    Xlsx,
    /// A JSON array of rows.
    Json,
    /// A JSON row a line.
    Jsonl,
}

/// Forms of a file of mobile prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegionForm {
    /// Comma-separated values.
    Csv,
    /// Excel workbook.
    Xlsx,
    /// phone.dat
    PhoneDat,
}

/// The form's name in the API: as asked, else by the file's ending.
fn form<F: ValueEnum>(asked: Option<F>, file: &Path) -> Result<String, CliError> {
    let ending = file
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let named = match ending.to_ascii_lowercase().as_str() {
        "dat" => "phone-dat".to_owned(),
        "txt" => "csv".to_owned(),
        "xlsm" => "xlsx".to_owned(),
        other => other.to_owned(),
    };
    let form = asked.or_else(|| F::from_str(&named, true).ok());
    let value = form.and_then(|form| form.to_possible_value());
    value
        .map(|value| value.get_name().to_owned())
        .ok_or_else(|| {
            let text = format!("`{}`: say its form with --format", file.display());
            CliError::new(Exit::Usage, text)
        })
}

/// Carries out an import of numbers; `owner` is the field and name for rows that name none.
pub async fn import_numbers<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    owner: (&str, &Option<String>),
    args: &ImportArgs,
) -> Result<Exit, CliError> {
    let mut query = vec![
        ("format".to_owned(), form(args.format, &args.file)?),
        ("update".to_owned(), args.update.to_string()),
        ("dry_run".to_owned(), args.dry_run.to_string()),
    ];
    if let (field, Some(name)) = owner {
        query.push((field.to_owned(), name.clone()));
    }
    import(client, printer, path, query, &args.file, &args.bar).await
}

/// Carries out what concerns regions.
pub async fn region<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &RegionVerb,
) -> Result<Exit, CliError> {
    match verb {
        RegionVerb::List(args) => {
            super::verbs::list(client, printer, &["regions"], super::columns::REGION, args).await
        }
        RegionVerb::Lookup { number } => {
            printer.first = &["number", "area_code", "area_name", "source"];
            let request = Request::new(Method::GET, ["regions", number.as_str()]);
            super::verbs::show(client, printer, request).await
        }
        RegionVerb::Import {
            file,
            format,
            replace,
            dry_run,
            bar,
        } => {
            let query = vec![
                ("format".to_owned(), form(*format, file)?),
                ("replace".to_owned(), replace.to_string()),
                ("dry_run".to_owned(), dry_run.to_string()),
            ];
            import(client, printer, "regions", query, file, bar).await
        }
        RegionVerb::Export { to } => export(client, printer, "regions", &[], to).await,
    }
}

async fn import<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    query: Vec<(String, String)>,
    file: &Path,
    bar: &BarArgs,
) -> Result<Exit, CliError> {
    printer.first = &["made", "changed", "equal", "dry_run", "failed"];
    let body = content(file)?;
    let request = Request::new(Method::POST, [path, "import"]).query(query);
    let response = client
        .answer(request.body("application/octet-stream", body))
        .await?;
    match response.status().as_u16() {
        200 => {}
        422 => return Err(wrong(file, response).await),
        _ => return Err(refused(response).await),
    }
    let bar = match bar.progress {
        When::Auto => ProgressBar::new(0),
        When::Never => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left") {
        bar.set_style(style);
    }
    let done = follow(response, &bar).await;
    bar.finish_and_clear();
    let progress = done?;
    let report = progress.report.unwrap_or_default();
    printer.one(&json!(report))?;
    Ok(match &report.failed {
        None => Exit::Ok,
        Some(why) => {
            complain(&format!("`{}`: {why}", file.display()));
            let applied = report.made + report.changed;
            if applied > 0 {
                Exit::Partly
            } else {
                Exit::Error
            }
        }
    })
}

/// Reads the lines of an answer up to the one that holds the report.
async fn follow(mut response: Response, bar: &ProgressBar) -> Result<Progress, CliError> {
    let broken = |why: &dyn std::fmt::Display| {
        let text = format!("import broke off, some of it may have been applied: {why}");
        CliError::new(Exit::Partly, text)
    };
    let mut rest = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let progress: Progress =
                serde_json::from_slice(&line).map_err(|error| broken(&error))?;
            bar.set_length(progress.of);
            bar.set_position(progress.done);
            if progress.report.is_some() {
                return Ok(progress);
            }
        }
    }
    Err(broken(&"no report came"))
}

/// Every row of a file that is wrong, as `FILE:LINE: FIELD: TEXT`.
async fn wrong(file: &Path, response: Response) -> CliError {
    let file = file.display();
    let Ok(Ok(problem)) = response
        .bytes()
        .await
        .map(|body| serde_json::from_slice::<Problem>(&body))
    else {
        return CliError::new(
            Exit::Error,
            format!("`{file}`: refused, and it is not said why"),
        );
    };
    let rows = problem.rows.map_or(Vec::new(), |rows| rows.0);
    let mut lines: Vec<String> = rows.iter().map(|row| format!("{file}:{row}")).collect();
    lines.push(match lines.is_empty() {
        true => format!("`{file}`: {}", problem.detail),
        false => problem.detail,
    });
    CliError::new(Exit::Error, lines.join("\n"))
}

/// A file's bytes, within the bound that the server has.
fn content(path: &Path) -> Result<Bytes, CliError> {
    let most = Limits::default().bytes;
    let unreadable = |error: &dyn std::fmt::Display| {
        CliError::new(Exit::Usage, format!("`{}`: {error}", path.display()))
    };
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(path).map_err(|error| unreadable(&error))?),
    };
    let mut bytes = Vec::new();
    let read = source.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&error))?;
    if bytes.len() > most {
        return Err(unreadable(&format!("is larger than {most} bytes")));
    }
    Ok(bytes.into())
}

/// Carries out an export of numbers.
pub async fn export_numbers<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    args: &ExportArgs,
) -> Result<Exit, CliError> {
    export(client, printer, path, &args.filters, &args.to).await
}

/// Passes a file on as it comes.
async fn export<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    filters: &[String],
    to: &ToArgs,
) -> Result<Exit, CliError> {
    let usage = |text: String| CliError::new(Exit::Usage, text);
    let format = match (printer.output, &to.file) {
        (Some(Output::Csv), _) => Format::Csv,
        (Some(Output::Xlsx), _) => Format::Xlsx,
        (Some(_), _) => return Err(usage("an export of rows is csv or xlsx".to_owned())),
        (None, Some(file)) => Format::of(file).ok_or_else(|| {
            usage(format!(
                "`{}`: say the form with -o csv or -o xlsx",
                file.display()
            ))
        })?,
        (None, None) => Format::Csv,
    };
    if format == Format::Xlsx && to.file.is_none() && std::io::stdout().is_terminal() {
        return Err(usage(
            "a workbook does not go to a terminal; say --file FILE".to_owned(),
        ));
    }
    let mut query = vec![
        ("format".to_owned(), format.ending().to_owned()),
        ("labels".to_owned(), to.labels.to_string()),
    ];
    for filter in filters {
        let (name, value) = fields::split(filter)?;
        query.push((name.to_owned(), value.to_owned()));
    }
    let mut response = client
        .send(Request::new(Method::GET, [path, "export"]).query(query))
        .await?;
    let mut file = match &to.file {
        None => None,
        Some(path) => {
            let made = File::create(path);
            Some(made.map_err(|error| usage(format!("`{}`: {error}", path.display())))?)
        }
    };
    let cut = |why: String| CliError::new(Exit::Partly, format!("export broke off: {why}"));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| cut(error.to_string()))?
    {
        match &mut file {
            Some(file) => file
                .write_all(&chunk)
                .map_err(|error| cut(error.to_string()))?,
            None => printer.raw(&chunk)?,
        }
    }
    Ok(Exit::Ok)
}
