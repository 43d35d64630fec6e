//! `local-runner rotate`: deletes old dumps from the customer's bucket, by a plan. The only
//! DeleteObject of this project is here; the Lambda has no right to it.
//!
//! It names no version. Where the bucket keeps versions, the dump becomes an old one, which
//! can be brought back until a lifecycle rule removes it, and what Object Lock holds cannot be
//! removed at all. Where it keeps none, a deleted dump is gone.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::types::ObjectLockLegalHoldStatus;
use bucket_copy::fetch::{Object, Versioning};
use bucket_copy::{Halt, SourceName};
use jiff::{Timestamp, ToSpan};

use crate::args::{At, Rotate};
use crate::backups::{Backups, Sides};
use crate::dumps::{self, Made, Patterns};
use crate::escape::escape;
use crate::exit::Usage;
use crate::logs;
use crate::progress::{Manner, Progress};
use crate::quantity::{bytes, count};
use crate::replicate::print;

/// A dump, and what becomes of it.
struct Row {
    object: Object,
    made: Made,
    /// Why it is kept; empty: it is not.
    kept: Vec<String>,
}

pub(crate) async fn command(args: &Rotate) -> anyhow::Result<ExitCode> {
    let patterns = Patterns::new(&args.pattern).map_err(|_| Usage::Pattern(args.pattern.join("', '")))?;
    logs::init(Progress::new(Manner::Quiet).bar());
    let halt = Halt::never();
    let sides = Sides::connect(args.settings()).await?;
    let mut replica = sides.get(At::Destination, SourceName::Database, &halt)?;
    let prefix = replica.prefix.clone();

    let all = replica.list(None).await?;
    let there = all.len();
    let dumps: Vec<Object> =
        all.into_iter().filter(|object| patterns.match_key(&object.key[prefix.len()..])).collect();
    let others = there - dumps.len();
    let (mut rows, series) = judge(dumps, &prefix, args, Timestamp::now());
    let at_vendor = at_vendor(&sides, &halt).await?;
    let holder = Holder::new(&replica).await?;
    for row in rows.iter_mut().filter(|row| row.kept.is_empty()) {
        if at_vendor.as_ref().is_some_and(|keys| keys.contains(&row.object.key[prefix.len()..])) {
            row.kept.push("still at the vendor".into());
        } else if let Some(hold) = holder.look_again(&row.object).await? {
            row.kept.push(hold);
        }
    }

    let doomed: Vec<&Row> = rows.iter().filter(|row| row.kept.is_empty()).collect();
    let of = rows.iter().filter(|row| row.object.size > 0).count();
    let share = doomed.len() * 100 / of.max(1);
    let mut text = plan_lines(&rows, &prefix);
    let size = |rows: &[&Row]| bytes(rows.iter().map(|row| row.object.size).sum());
    text.push_str(&format!(
        "\n{}: {} in {} series; keeps {}, deletes {} ({}, {share} % of them)\n",
        replica.address(&prefix),
        count(of as u64, "dump"),
        series,
        of - doomed.len(),
        doomed.len(),
        size(&doomed),
    ));
    if others > 0 {
        text.push_str(&format!(
            "{} there match no --pattern and are not touched\n",
            count(others as u64, "object")
        ));
    }
    if at_vendor.is_none() {
        text.push_str(
            "The vendor's bucket was not looked at (--database-bucket): what it still has, the next run copies again\n",
        );
    }
    if !doomed.is_empty() {
        text.push_str(versions(&replica).await);
    }
    if doomed.is_empty() || !args.apply {
        text.push_str(match doomed.is_empty() {
            true => "There is nothing to delete\n",
            false => "Nothing was deleted: --apply does it\n",
        });
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&text)?;
    if doomed.len() * 100 > of * usize::from(args.at_most) {
        anyhow::bail!(
            "the plan deletes more than {} % of the dumps: nothing was deleted; look at it again, then say --at-most {}",
            args.at_most,
            (share + 1).min(99)
        );
    }
    apply(&holder, &doomed).await?;
    Ok(ExitCode::SUCCESS)
}

/// What the rules say, series by series, the newest dump first; and how many series there are.
fn judge(dumps: Vec<Object>, prefix: &str, args: &Rotate, now: Timestamp) -> (Vec<Row>, usize) {
    let mut series: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for object in dumps {
        let key = &object.key[prefix.len()..];
        let (name, made) = (dumps::series(key), Made::of(key, &object));
        series.entry(name).or_default().push(Row { object, made, kept: Vec::new() });
    }
    let number = series.len();
    let stale = now.checked_sub((i64::from(args.stale_after) * 24).hours()).unwrap_or(now);
    let mut rows = Vec::new();
    for dumps in series.into_values() {
        // What is empty restores nothing: it must not be what is kept in the place of a dump.
        let (mut dumps, mut empty): (Vec<_>, Vec<_>) = dumps.into_iter().partition(|row| row.object.size > 0);
        empty.iter_mut().for_each(|row| row.kept.push("empty: no dump".into()));
        dumps.sort_by(|a, b| (b.made.at, &b.object.key).cmp(&(a.made.at, &a.object.key)));
        let made: Vec<Timestamp> = dumps.iter().map(|row| row.made.at).collect();
        let is_stale = made.first().is_some_and(|newest| *newest < stale);
        for (row, why) in dumps.iter_mut().zip(rules::kept(&made, &args.keep)) {
            row.kept = why.into_iter().map(str::to_owned).collect();
            if row.kept.is_empty() && is_stale {
                row.kept.push("no newer dumps come".into());
            }
        }
        dumps.append(&mut empty);
        rows.append(&mut dumps);
    }
    (rows, number)
}

/// The keys that the vendor's bucket has, if it is known.
async fn at_vendor(sides: &Sides, halt: &Halt) -> anyhow::Result<Option<BTreeSet<String>>> {
    let Some(mut vendor) = sides.find(At::Vendor, SourceName::Database, halt)? else { return Ok(None) };
    let mut listing = vendor.bucket.list("").await.context("nothing was deleted")?;
    let mut keys = BTreeSet::new();
    while let Some(object) = listing.next().await.context("nothing was deleted")? {
        keys.insert(object.key);
    }
    Ok(Some(keys))
}

/// Looks at what is to be deleted.
struct Holder<'a> {
    replica: &'a Backups,
    /// Whether the bucket can protect objects.
    locks: bool,
}

impl<'a> Holder<'a> {
    async fn new(replica: &'a Backups) -> anyhow::Result<Self> {
        let asked = replica.client.get_object_lock_configuration().bucket(&replica.name);
        let locks = match asked.customize().config_override(patient()).send().await {
            Ok(_) => true,
            Err(error) => match error.code() {
                Some("ObjectLockConfigurationNotFoundError" | "NotImplemented") => false,
                // It may: each object is asked.
                Some("AccessDenied") => true,
                _ => {
                    return Err(said(&error, "s3:GetBucketObjectLockConfiguration")
                        .context(format!("cannot ask s3://{} for Object Lock", replica.name)));
                }
            },
        };
        Ok(Self { replica, locks })
    }

    /// Why the object must stay, as it is now.
    async fn look_again(&self, listed: &Object) -> anyhow::Result<Option<String>> {
        let Self { replica: Backups { client, name, .. }, locks } = self;
        let address = self.replica.address(&listed.key);
        let head = client.head_object().bucket(name).key(&listed.key);
        let head = head.customize().config_override(patient()).send().await;
        let head = head
            .map_err(|error| said(&error, "s3:GetObject"))
            .with_context(|| format!("cannot look at {address} again; it was not deleted"))?;
        if head.e_tag().map(bucket_copy::ETag::parse).as_ref() != Some(&listed.etag) {
            return Ok(Some("overwritten meanwhile".into()));
        }
        if !locks {
            return Ok(None);
        }
        // The answer to a HEAD is silent on protection where the right to see it is missing.
        let unseen = || format!("cannot see whether {address} is protected; it was not deleted");
        let hold = client.get_object_legal_hold().bucket(name).key(&listed.key);
        let hold = hold.customize().config_override(patient()).send().await;
        let hold = unless_none(hold).with_context(unseen)?.and_then(|answer| answer.legal_hold);
        if hold.is_some_and(|hold| hold.status() == Some(&ObjectLockLegalHoldStatus::On)) {
            return Ok(Some("under a legal hold".into()));
        }
        let retention = client.get_object_retention().bucket(name).key(&listed.key);
        let retention = retention.customize().config_override(patient()).send().await;
        let retention = unless_none(retention).with_context(unseen)?.and_then(|answer| answer.retention);
        if let Some(until) = retention.and_then(|retention| retention.retain_until_date)
            && until.secs() > Timestamp::now().as_second()
        {
            return Ok(Some(format!("retained until {until}")));
        }
        Ok(None)
    }
}

/// An answer, or `None` where S3 says that there is no protection.
fn unless_none<T, E>(answer: Result<T, SdkError<E>>) -> anyhow::Result<Option<T>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        // The latter of a bucket without Object Lock.
        Err(error) if matches!(error.code(), Some("NoSuchObjectLockConfiguration" | "InvalidRequest")) => {
            Ok(None)
        }
        Err(error) => Err(said(&error, "s3:GetObjectLegalHold and s3:GetObjectRetention")),
    }
}

async fn apply(holder: &Holder<'_>, doomed: &[&Row]) -> anyhow::Result<()> {
    let replica = holder.replica;
    let mut deleted = 0;
    for row in doomed {
        let address = replica.address(&row.object.key);
        let done = || format!("{deleted} of {} were deleted before; run again to go on", doomed.len());
        if let Some(why) = holder.look_again(&row.object).await.with_context(done)? {
            print(&format!("kept     {address}  ({why})"))?;
            continue;
        }
        let delete = replica.client.delete_object().bucket(&replica.name).key(&row.object.key);
        // Of what was looked at, and nothing else.
        let delete = delete.if_match(format!("\"{}\"", row.object.etag));
        let answer = delete.customize().config_override(patient()).send().await;
        let right = || format!("s3:DeleteObject on {}*", replica.address(&replica.prefix));
        answer
            .map_err(|error| said(&error, &right()))
            .with_context(|| format!("cannot delete {address}; {}", done()))?;
        deleted += 1;
        print(&format!("deleted  {address}"))?;
    }
    print(&format!("Deleted {}.", count(deleted, "dump")))
}

/// What deleting means in this bucket.
async fn versions(replica: &Backups) -> &'static str {
    match replica.bucket.versioning().await {
        Ok(Versioning::Enabled) => {
            "The bucket keeps versions: a deleted dump stays there as an old version, and can be brought back, until \
             a lifecycle rule for noncurrent versions removes it\n"
        }
        Ok(Versioning::Suspended | Versioning::Never) => {
            "The bucket keeps no versions: what is deleted is gone\n"
        }
        Err(_) => {
            "Whether the bucket keeps versions is not known (allow s3:GetBucketVersioning): if not, what is deleted \
             is gone\n"
        }
    }
}

fn plan_lines(rows: &[Row], prefix: &str) -> String {
    let mut text = String::new();
    for Row { object, made, kept } in rows {
        let what = if kept.is_empty() { "delete" } else { "keep" };
        let by = if made.by_key { "" } else { " (by S3's time)" };
        let time = made.at.strftime("%Y-%m-%d %H:%M");
        let why = if kept.is_empty() { String::new() } else { format!("  ({})", kept.join(", ")) };
        let key = escape(&object.key[prefix.len()..]);
        text.push_str(&format!("{what:<6}  {time}{by}  {:>9}  {key}{why}\n", bytes(object.size)));
    }
    text
}

/// The clients leave it to their users to try again.
pub(crate) fn patient() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::standard().with_max_attempts(5))
}

/// What S3 said, and what to do, in one line. `right` is what the request needs.
pub(crate) fn said<E>(error: &SdkError<E>, right: &str) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let Some(code) = error.code().or_else(|| (status == 403).then_some("AccessDenied")) else {
        let cause = anyhow::Chain::new(error).last().map(ToString::to_string).unwrap_or_default();
        return anyhow::anyhow!("{cause}; check the network, the credentials and DESTINATION_ENDPOINT_URL");
    };
    let remedy = match code {
        "AccessDenied" => format!("allow {right}"),
        "NoSuchBucket" => "there is no such bucket; check DESTINATION_BUCKET".into(),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" => {
            "check the role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into()
        }
        _ => "run again".to_owned(),
    };
    let id = error.request_id().map_or_else(String::new, |id| format!(" (request id {id})"));
    anyhow::anyhow!("S3 answered {code}: {}{id}; {remedy}", error.message().unwrap_or_default())
}
