//! `tandem plan`: arithmetic on this machine, without a server.

use super::print::Printer;
use super::{CliError, Exit, Output};
use crate::plan::chart::{self, Chart};
use crate::plan::hold::Shape;
use crate::plan::simulate::Run;
use crate::plan::{Delay, Demand, Line, Plan, plan};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::Write;

/// Columns in the order of reading.
const COLUMNS: &[&str] = &[
    "unbind_delay",
    "x_hold_secs",
    "x_erlang",
    "x_slots",
    "x_needed",
    "a_needed",
    "blocking",
    "simulated",
    "simulated_margin",
    "agrees",
    "saved",
    "saved_percent",
];

/// `tandem plan`
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Calls a second that need a pair of numbers.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub calls_per_second: f64,
    /// Mean seconds from the bind to the answer.
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    pub answer_time: f64,
    /// Mean seconds from the answer to the end of the call.
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    pub talk_time: f64,
    /// 解绑延迟（秒）to compare: null (at call end), 0 (at the answer), or seconds after it.
    #[arg(long, value_name = "null|SECS,…", value_delimiter = ',', value_parser = delay, default_value = "null,60,30,10,5,0")]
    pub unbind_delay: Vec<DelayArg>,
    /// 线路上限 of an X number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub x_limit: u32,
    /// 线路上限 of an A number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub a_limit: u32,
    /// Share of calls that may be refused for want of an X, and as many for want of an A.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.001,
        allow_negative_numbers = true
    )]
    pub blocking: f64,
    /// Share of calls that are answered.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub answer_ratio: f64,
    /// Mean seconds from the bind to the end of a call that nobody answers [default: the answer time].
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    pub give_up_time: Option<f64>,
    /// Seconds that one request to the platform takes.
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub platform_time: f64,
    /// Seconds that a released pair rests; plays whole calls with both numbers too.
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    pub pair_rest: Option<f64>,
    /// How answer and talk times scatter.
    #[arg(long, value_enum, default_value_t = ShapeArg::Exponential)]
    pub distribution: ShapeArg,
    /// Calls to simulate at least; 0 leaves the simulation out.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub calls: u64,
    /// Seed of the simulation: one seed, one result.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The table without the picture.
    #[arg(long)]
    pub no_plot: bool,
}

/// An unbind delay as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayArg(pub Option<u32>);

fn delay(text: &str) -> Result<DelayArg, String> {
    match text {
        "null" => Ok(DelayArg(None)),
        secs => secs
            .parse()
            .map(|secs| DelayArg(Some(secs)))
            .map_err(|_| "neither null nor whole seconds".to_owned()),
    }
}

/// Distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShapeArg {
    /// Negative exponential.
    Exponential,
    /// Always the mean.
    Fixed,
    /// Evenly between 0 and twice the mean.
    Uniform,
    /// Many short and some long calls.
    Mixed,
}

impl PlanArgs {
    fn demand(&self) -> Demand {
        Demand {
            calls_per_second: self.calls_per_second,
            answer_secs: self.answer_time,
            give_up_secs: self.give_up_time.unwrap_or(self.answer_time),
            talk_secs: self.talk_time,
            answer_ratio: self.answer_ratio,
            platform_secs: self.platform_time,
            shape: match self.distribution {
                ShapeArg::Exponential => Shape::Exponential,
                ShapeArg::Fixed => Shape::Fixed,
                ShapeArg::Uniform => Shape::Uniform,
                ShapeArg::Mixed => Shape::Mixed,
            },
            blocking: self.blocking,
            x_limit: self.x_limit,
            a_limit: self.a_limit,
            pair_rest_secs: self.pair_rest,
            unbind_delays: self.unbind_delay.iter().map(|delay| delay.0).collect(),
            calls: self.calls,
            seed: self.seed,
        }
    }
}

/// Plans and prints; colours are used when `colour` says that the reader shows them.
pub fn run<W: Write>(
    args: &PlanArgs,
    printer: &mut Printer<W>,
    colour: bool,
) -> Result<Exit, CliError> {
    let demand = args.demand();
    let plan = plan(&demand).map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    if printer.output.unwrap_or(Output::Table) != Output::Table {
        let lines: Vec<Value> = plan.lines.iter().map(|line| whole(&plan, line)).collect();
        printer.rows(COLUMNS, &lines)?;
        return Ok(Exit::Ok);
    }
    let lines: Vec<Value> = plan.lines.iter().map(|line| short(&plan, line)).collect();
    let slots: &[&str] = if demand.x_limit > 1 { &["slots"] } else { &[] };
    let pairs: &[&str] = if demand.pair_rest_secs.is_some() {
        &["pairs"]
    } else {
        &[]
    };
    let columns = [
        &["delay", "erlang"],
        slots,
        &["x", "a", "erlang_b", "simulated"],
        pairs,
        &["agree", "saved"],
    ]
    .concat();
    printer.rows(&columns, &lines)?;
    printer.finish()?;
    printer.raw(legend(&demand, &plan).as_bytes())?;
    if !args.no_plot {
        printer.raw(picture(&demand, &plan, colour).as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// A line for programs: every figure as it is.
fn whole(plan: &Plan, line: &Line) -> Value {
    let part = |run: &Option<Run>, part: fn(&Run) -> f64| run.as_ref().map(part);
    json!({
        "unbind_delay": line.unbind_delay,
        "x_hold_secs": line.x.hold_secs,
        "x_erlang": line.x.erlang,
        "x_slots": line.x.lines,
        "x_needed": line.x.numbers,
        "a_hold_secs": plan.a.hold_secs,
        "a_erlang": plan.a.erlang,
        "a_needed": plan.a.numbers,
        "a_blocking": plan.a.blocking,
        "a_simulated": part(&plan.a.simulated, |run| run.share),
        "a_simulated_margin": part(&plan.a.simulated, |run| run.margin),
        "a_agrees": plan.a.agrees(),
        "blocking": line.x.blocking,
        "simulated": part(&line.x.simulated, |run| run.share),
        "simulated_margin": part(&line.x.simulated, |run| run.margin),
        "simulated_calls": line.x.simulated.map(|run| run.calls),
        "agrees": line.x.agrees(),
        "pairs_simulated": part(&line.pairs, |run| run.share),
        "pairs_simulated_margin": part(&line.pairs, |run| run.margin),
        "saved": line.saved,
        "saved_percent": saved_percent(plan, line),
    })
}

/// A line for people.
fn short(plan: &Plan, line: &Line) -> Value {
    let percent = |run: Option<Run>| {
        run.map(|run| format!("{:.3}±{:.3}%", run.share * 100.0, run.margin * 100.0))
    };
    json!({
        "delay": Delay(line.unbind_delay).to_string(),
        "erlang": format!("{:.1}", line.x.erlang),
        "slots": line.x.lines,
        "x": line.x.numbers,
        "a": plan.a.numbers,
        "erlang_b": format!("{:.3}%", line.x.blocking * 100.0),
        "simulated": percent(line.x.simulated),
        "pairs": percent(line.pairs),
        "agree": line.x.agrees().map(|agrees| if agrees { "yes" } else { "no" }),
        "saved": match line.saved {
            0 => String::new(),
            _ => format!("{:.0}%", saved_percent(plan, line)),
        },
    })
}

fn saved_percent(plan: &Plan, line: &Line) -> f64 {
    line.saved as f64 / plan.x_at_call_end as f64 * 100.0
}

fn legend(demand: &Demand, plan: &Plan) -> String {
    let a = &plan.a;
    let mut text = format!(
        "\nA is held to the end of the call: {:.1} Erlang, {} A numbers, {:.3}% refused",
        a.erlang,
        a.numbers,
        a.blocking * 100.0
    );
    if let Some(run) = a.simulated {
        let agrees = match a.agrees() {
            Some(true) => "agrees",
            _ => "does not agree",
        };
        let (share, margin) = (run.share * 100.0, run.margin * 100.0);
        text += &format!(";\nsimulated {share:.3}±{margin:.3}%, which {agrees}");
    }
    text += ".\n";
    match plan.lines.iter().find_map(|line| line.x.simulated) {
        Some(run) => {
            text += &format!(
                "± is the 95% confidence of {} calls or more, seed {}; twice that still agrees.\n",
                run.calls, demand.seed
            );
        }
        None if demand.calls > 0 => text += "This is too much traffic to be simulated.\n",
        None => {}
    }
    text
}

fn picture(demand: &Demand, plan: &Plan, colour: bool) -> String {
    let top = plan.x_at_call_end.max(1);
    let (right, values) = demand.x_curve(chart::columns(top));
    let marks: Vec<f64> = demand
        .unbind_delays
        .iter()
        .flatten()
        .map(|secs| f64::from(*secs))
        .collect();
    let title = format!("\nX numbers needed by unbind delay; {top} when released at call end");
    Chart {
        title: &title,
        values: &values,
        top,
        right,
        unit: "s",
        marks: &marks,
        colour,
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        plan: PlanArgs,
    }

    fn planned(line: &str, output: Option<Output>) -> Result<String, CliError> {
        let words = [
            "plan",
            "--calls-per-second=2",
            "--answer-time=8",
            "--talk-time=60",
            "--calls=20000",
        ];
        let typed = Typed::try_parse_from(words.into_iter().chain(line.split_whitespace()))
            .expect("arguments");
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, output, &[]);
        let exit = run(&typed.plan, &mut printer, false)?;
        printer.finish()?;
        drop(printer);
        assert_eq!(exit, Exit::Ok);
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn people_see_a_table_and_a_picture_of_eighty_columns() {
        for line in [
            "",
            "--x-limit 20 --blocking 0.01",
            "--pair-rest 2 --unbind-delay null,0",
        ] {
            let shown = planned(line, None).expect("a plan");
            assert!(
                shown.lines().all(|line| line.chars().count() <= 80),
                "{shown}"
            );
            assert!(
                shown.starts_with("DELAY  ERLANG")
                    && shown.contains('█')
                    && !shown.contains('\x1b'),
                "{shown}"
            );
        }
        let bare = planned("--no-plot", None).expect("a plan");
        assert!(!bare.contains('█') && bare.contains("A numbers"), "{bare}");
    }

    #[test]
    fn programs_get_every_figure() {
        let lines: Vec<Value> = serde_json::from_str(
            &planned("--unbind-delay null,5,0", Some(Output::Json)).expect("a plan"),
        )
        .expect("JSON");
        let figures: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    &line["unbind_delay"],
                    &line["x_needed"],
                    &line["a_needed"],
                    &line["saved"],
                    &line["agrees"],
                )
            })
            .collect();
        let expected = [
            (json!(null), 168, 0, 168),
            (json!(5), 42, 126, 168),
            (json!(0), 30, 138, 168),
        ];
        for (figures, (delay, x, saved, a)) in figures.into_iter().zip(expected) {
            assert_eq!(
                figures,
                (&delay, &json!(x), &json!(a), &json!(saved), &json!(true))
            );
        }
        let csv = planned("--no-plot", Some(Output::Csv)).expect("a plan");
        assert!(
            csv.starts_with("unbind_delay,x_hold_secs,x_erlang,x_slots,x_needed,a_needed,"),
            "{csv}"
        );
        assert_eq!(csv.lines().count(), 7);
    }

    #[test]
    fn what_cannot_be_planned_is_a_mistake_of_usage() {
        for (line, said) in [
            (
                "--blocking 0",
                "`blocking`: 0 is not within 0.000000001 and 0.5",
            ),
            (
                "--answer-ratio -1",
                "`answer_ratio`: -1 is not within 0.000001 and 1",
            ),
            ("--x-limit 0", "`x_limit`: 0 is not within 1 and 1000000"),
            (
                "--give-up-time 1e300 --answer-ratio 0.5",
                "`give_up_time`: 1000",
            ),
        ] {
            let error = planned(line, None).expect_err(line);
            assert_eq!(
                (error.exit, error.text.starts_with(said)),
                (Exit::Usage, true),
                "{}",
                error.text
            );
        }
        for line in [
            "--unbind-delay never",
            "--unbind-delay -1",
            "--distribution odd",
            "--calls x",
        ] {
            let words = [
                "plan",
                "--calls-per-second=1",
                "--answer-time=8",
                "--talk-time=60",
            ];
            assert!(
                Typed::try_parse_from(words.into_iter().chain(line.split(' '))).is_err(),
                "{line}"
            );
        }
    }
}
