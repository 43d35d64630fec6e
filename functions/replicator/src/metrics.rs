//! CloudWatch metrics of a run, as lines of the log in CloudWatch's embedded metric format
//! (EMF): no request, and no right, is needed for them. infra/metrics.md lists them.

use bucket_copy::{Report, SourceName, SourceReport, VerifiedBy};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

const NAMESPACE: &str = "Replicator";

/// The lines for one run: one for each source, one for the whole. None for a dry run, which
/// would look like a run that copied. `partial` is a run that was asked for some objects only.
pub(crate) fn lines(report: &Report, partial: bool, function: &str, now: Timestamp) -> Vec<String> {
    if report.dry_run {
        return Vec::new();
    }
    let sources = report.sources.iter().map(|source| {
        let dimensions = [("FunctionName", function.to_owned()), ("Source", source.source.to_string())];
        line(now, &dimensions, &of_source(source, partial, now))
    });
    let requests: u64 = report.requests.values().sum();
    let run = [
        ("Requests", "Count", json!(requests)),
        ("RequestCost", "None", json!(report.cost_usd)),
        ("Duration", "Seconds", json!(report.seconds)),
    ];
    let run = line(now, &[("FunctionName", function.to_owned())], &run);
    sources.chain([run]).collect()
}

/// Whether a run brought over all of this source that could be read. Archived objects have a
/// metric of their own: an alarm that cannot be silenced is one that nobody heeds.
fn succeeded(source: &SourceReport) -> bool {
    source.error.is_none()
        && source.failed.objects == 0
        && source.interrupted.objects == 0
        && source.stopped_after.is_none()
        && source.resumed.as_ref().is_none_or(|earlier| earlier.failed.objects == 0)
}

type Metric = (&'static str, &'static str, Value);

fn of_source(source: &SourceReport, partial: bool, now: Timestamp) -> Vec<Metric> {
    let age = |time: Timestamp| (now - time).get_seconds().max(0);
    let unverified = source.verified_by.get(&VerifiedBy::Size).copied().unwrap_or(0);
    let mut metrics = vec![
        ("RunsSucceeded", "Count", json!(u8::from(!partial && succeeded(source)))),
        ("ObjectsCopied", "Count", json!(source.copied.objects)),
        ("BytesCopied", "Bytes", json!(source.copied.bytes)),
        ("ObjectsFailed", "Count", json!(source.failed.objects)),
        ("ObjectsArchived", "Count", json!(source.archived.objects)),
        ("ObjectsUnverified", "Count", json!(unverified)),
        ("Lag", "Seconds", json!(source.newest_missing.map_or(0, age))),
    ];
    // A prefix may leave the newest dump out.
    if let (SourceName::Database, Some(newest), false) = (source.source, source.newest, partial) {
        metrics.push(("NewestDumpAge", "Seconds", json!(age(newest))));
    }
    metrics
}

fn line(now: Timestamp, dimensions: &[(&str, String)], metrics: &[Metric]) -> String {
    let names: Vec<_> = dimensions.iter().map(|(name, _)| name).collect();
    let units: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [names], "Metrics": units}],
        }),
    );
    line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    Value::Object(line).to_string()
}
