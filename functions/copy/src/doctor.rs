//! Tries, before the first run, all that a run will do: which rights are there, which way
//! the bytes will go, and what to add where something is missing.
//!
//! The source is only read. At the destination one small object is written,
//! `.replicator/doctor`, and overwritten by the next examination; an upload is opened there
//! and aborted. Nothing is deleted.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{EncodingType, ObjectStorageClass, ServerSideEncryption};
use jiff::Timestamp;
use serde::Serialize;

use crate::copy::copy_source;
use crate::list::timestamp;
use crate::report::Operation;
use crate::rights::Remedy;
use crate::s3::{Caller, Clients, Side};
use crate::verify::is_kms;
use crate::{ETag, Halt, Plan, Route, S3Error, S3ErrorKind, Source, Transfer};

/// The object that an examination writes.
pub const DOCTOR_KEY: &str = ".replicator/doctor";

/// A source's object is copied for proof if it is no larger: 64 MiB.
const LARGEST_PROOF: i64 = 64 << 20;

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Whether a run can work.
    pub prognosis: Prognosis,
    /// The destination's part and that of each source.
    pub sections: Vec<Section>,
}

/// Whether a run can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prognosis {
    /// All of it.
    Good,
    /// Some objects cannot be copied, or not be verified, or an upload not be undone.
    Partial,
    /// A run would fail.
    Hopeless,
}

/// What was tried on one bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// `destination`, `database` or `filesystem`.
    pub name: String,
    /// Its bucket.
    pub bucket: String,
    /// Of a source: which way its bytes will go, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<(Route, String)>,
    /// One trial after the other.
    pub checks: Vec<Check>,
    #[serde(skip)]
    prognosis: Prognosis,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What was tried, such as `read`.
    pub what: &'static str,
    /// How it went.
    pub finding: Finding,
    /// More about it.
    pub detail: String,
    /// What to do, where something is.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

/// How a trial went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It works.
    Ok,
    /// It does not.
    Missing,
    /// There was nothing to try it on, or the right to know is missing. No run needs it.
    CannotTell,
}

/// Tries everything that a run as `plan` says would do, each once.
pub async fn examine(plan: &Plan, clients: &Clients) -> Diagnosis {
    let caller = Caller::new(plan, Halt::never()).first();
    let destination = Side::destination(clients, plan);
    let mut sections = vec![examine_destination(&caller, plan, &destination).await];
    for source in &plan.sources {
        let patient =
            Patient { plan, source, caller: &caller, clients, destination: &destination, checks: Vec::new() };
        sections.push(patient.examine().await);
    }
    let sources = &sections[1..];
    let worst = sources.iter().map(|section| section.prognosis).max().unwrap_or(Prognosis::Good);
    let all_hopeless = sources.iter().all(|section| section.prognosis == Prognosis::Hopeless);
    let prognosis = match sections[0].prognosis {
        Prognosis::Hopeless => Prognosis::Hopeless,
        _ if all_hopeless => Prognosis::Hopeless,
        destination => destination.max(worst.min(Prognosis::Partial)),
    };
    Diagnosis { prognosis, sections }
}

fn ok(what: &'static str, detail: impl Into<String>) -> Check {
    Check { what, finding: Finding::Ok, detail: detail.into(), remedy: None }
}

fn cannot_tell(what: &'static str, detail: impl Into<String>) -> Check {
    Check { what, finding: Finding::CannotTell, detail: detail.into(), remedy: None }
}

fn missing(what: &'static str, error: &S3Error, remedy: Remedy) -> Check {
    // Where a right is all that is missing, its name says more than S3's sentence.
    let detail = match &remedy.statement {
        Some(statement) => statement.actions().join(", "),
        None => error.to_string(),
    };
    Check { what, finding: Finding::Missing, detail, remedy: Some(remedy) }
}

/// A trial's answer as a check.
fn check<T>(what: &'static str, side: &Side, answer: &Result<T, S3Error>, detail: &str) -> Check {
    match answer {
        Ok(_) => ok(what, detail),
        Err(error) => missing(what, error, side.remedy(error)),
    }
}

async fn examine_destination(caller: &Caller, plan: &Plan, side: &Side) -> Section {
    let Side { client, bucket, owner, .. } = side;
    let mut checks = Vec::new();
    let list = caller.send(Operation::ListObjectsV2, || {
        let list = client.list_objects_v2().bucket(bucket).max_keys(1).encoding_type(EncodingType::Url);
        list.set_expected_bucket_owner(owner.clone()).send()
    });
    let list = list.await;
    checks.push(check("list", side, &list, ""));

    let kms_key_id = &plan.destination.kms_key_id;
    let put = async |tags: Option<&str>| {
        let put = caller.send(Operation::PutObject, || {
            client
                .put_object()
                .bucket(bucket)
                .key(DOCTOR_KEY)
                .set_expected_bucket_owner(owner.clone())
                .set_storage_class(plan.destination.storage_class.clone())
                .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(kms_key_id.clone())
                .set_tagging(tags.map(str::to_owned))
                .body(ByteStream::from_static(b"Written by the replicator's doctor. It may stay.\n"))
                .send()
        });
        put.await
    };
    let written = put(None).await;
    checks.push(check("write", side, &written, DOCTOR_KEY));
    if let Ok(answer) = &written {
        let mut tagged = check("write tags", side, &put(Some("written-by=replicator")).await.map(drop), "");
        tagged.rename_right(side, "s3:PutObject", "s3:PutObjectTagging");
        checks.push(tagged);
        checks.push(encryption_of_writes(answer.server_side_encryption(), answer.ssekms_key_id()));
        let read = caller.send(Operation::GetObject, || {
            let get = client.get_object().bucket(bucket).key(DOCTOR_KEY).range("bytes=0-0");
            get.set_expected_bucket_owner(owner.clone()).send()
        });
        checks.push(check("read back", side, &read.await, "for copies that no ETag proves"));
        checks.extend(examine_uploads(caller, side).await);
        checks.push(clock(caller, side).await);
    }
    checks.extend(examine_configuration(side).await);
    let prognosis = match &checks[..] {
        _ if list.is_err() || written.is_err() => Prognosis::Hopeless,
        checks if checks.iter().any(|check| check.finding == Finding::Missing) => Prognosis::Partial,
        _ => Prognosis::Good,
    };
    Section { name: side.name.into(), bucket: bucket.clone(), route: None, checks, prognosis }
}

impl Check {
    /// Where S3 says "Access Denied" alone, the trial before it tells which right it is.
    fn rename_right(&mut self, side: &Side, not: &str, but: &str) {
        let bare = self.remedy.as_ref().is_some_and(|remedy| remedy.text.contains(&format!("{not} ")));
        if bare {
            self.remedy = Some(side.place().allow(but));
            self.detail = but.into();
        }
    }
}

/// Opens an upload and aborts it.
async fn examine_uploads(caller: &Caller, side: &Side) -> Vec<Check> {
    let Side { client, bucket, owner, .. } = side;
    let created = caller.send(Operation::CreateMultipartUpload, || {
        let create = client.create_multipart_upload().bucket(bucket).key(DOCTOR_KEY);
        create.set_expected_bucket_owner(owner.clone()).send()
    });
    let created = created.await;
    let mut checks = vec![check("open an upload", side, &created, "")];
    let Some(id) = created.ok().and_then(|created| created.upload_id) else { return checks };
    let uploads = caller.send(Operation::ListMultipartUploads, || {
        let list = client.list_multipart_uploads().bucket(bucket).prefix(DOCTOR_KEY);
        list.set_expected_bucket_owner(owner.clone()).send()
    });
    checks.push(check("list uploads", side, &uploads.await, ""));
    let parts = caller.send(Operation::ListParts, || {
        let list = client.list_parts().bucket(bucket).key(DOCTOR_KEY).upload_id(&id);
        list.set_expected_bucket_owner(owner.clone()).send()
    });
    checks.push(check("list parts", side, &parts.await, ""));
    let aborted = caller.send(Operation::AbortMultipartUpload, || {
        let abort = client.abort_multipart_upload().bucket(bucket).key(DOCTOR_KEY).upload_id(&id);
        abort.set_expected_bucket_owner(owner.clone()).send()
    });
    let mut aborted = check("abort an upload", side, &aborted.await, "");
    if aborted.finding == Finding::Missing {
        aborted.detail = format!("{}; the upload {id} of {DOCTOR_KEY} is left open", aborted.detail);
    }
    checks.push(aborted);
    checks
}

fn encryption_of_writes(encryption: Option<&ServerSideEncryption>, key: Option<&str>) -> Check {
    match key.filter(|_| is_kms(encryption)) {
        Some(key) => ok("encryption", format!("SSE-KMS with {key}")),
        None => ok("encryption", encryption.map_or("none that is known", ServerSideEncryption::as_str)),
    }
}

/// S3 refuses requests that are signed 15 minutes too early or too late.
async fn clock(caller: &Caller, side: &Side) -> Check {
    let Side { client, bucket, owner, .. } = side;
    let head = caller.send(Operation::HeadObject, || {
        let head = client.head_object().bucket(bucket).key(DOCTOR_KEY);
        head.set_expected_bucket_owner(owner.clone()).send()
    });
    let written = head.await.ok().and_then(|head| head.last_modified().map(timestamp));
    match written.map(|written| Timestamp::now().duration_since(written).as_secs()) {
        None => cannot_tell("clock", "the object's time cannot be read"),
        Some(seconds) if seconds.abs() <= 60 => ok("clock", "as the server's"),
        Some(seconds) => Check {
            what: "clock",
            finding: Finding::Missing,
            detail: format!(
                "{} s {} the server's",
                seconds.abs(),
                if seconds > 0 { "ahead of" } else { "behind" }
            ),
            remedy: Some("set this machine's clock".into()),
        },
    }
}

/// What no run needs to know, but its owner.
async fn examine_configuration(side: &Side) -> Vec<Check> {
    let Side { client, bucket, owner, .. } = side;
    let told = |what, told: Result<String, (Option<String>, &'static str)>| match told {
        Ok(detail) => ok(what, detail),
        Err((code, right)) => match code.as_deref() {
            Some("AccessDenied") => cannot_tell(what, format!("{right} would tell")),
            code => cannot_tell(what, code.unwrap_or("no answer")),
        },
    };
    let owned = || owner.clone();
    let versioning = client.get_bucket_versioning().bucket(bucket).set_expected_bucket_owner(owned());
    let versioning = versioning.send().await.map(|answer| match answer.status() {
        Some(status) => status.as_str().to_lowercase(),
        None => "off: what is overwritten is lost".into(),
    });
    let encryption = client.get_bucket_encryption().bucket(bucket).set_expected_bucket_owner(owned());
    let encryption = encryption.send().await.map(|answer| {
        let rules = answer.server_side_encryption_configuration().map(|rules| rules.rules());
        let rule =
            rules.and_then(<[_]>::first).and_then(|rule| rule.apply_server_side_encryption_by_default());
        rule.map_or_else(|| "none".to_owned(), |rule| rule.sse_algorithm().as_str().to_owned())
    });
    let lock = client.get_object_lock_configuration().bucket(bucket).set_expected_bucket_owner(owned());
    let lock = lock.send().await.map(|answer| {
        let rule = answer.object_lock_configuration().and_then(|lock| lock.rule());
        match rule.and_then(|rule| rule.default_retention()) {
            Some(rule) => format!(
                "{} for {} {}",
                rule.mode().map_or("on", |mode| mode.as_str()),
                rule.days().or(rule.years()).unwrap_or_default(),
                if rule.days().is_some() { "days" } else { "years" }
            ),
            None => "on, without a default retention".into(),
        }
    });
    let code = |error: &dyn ProvideErrorMetadata| error.code().map(str::to_owned);
    let lock = lock.or_else(|error| match code(&error).as_deref() {
        Some("ObjectLockConfigurationNotFoundError") => Ok("off".to_owned()),
        _ => Err((code(&error), "s3:GetBucketObjectLockConfiguration")),
    });
    let encryption = encryption.or_else(|error| match code(&error).as_deref() {
        Some("ServerSideEncryptionConfigurationNotFoundError") => Ok("none".to_owned()),
        _ => Err((code(&error), "s3:GetEncryptionConfiguration")),
    });
    let versioning = versioning.map_err(|error| (code(&error), "s3:GetBucketVersioning"));
    vec![told("versioning", versioning), told("default encryption", encryption), told("object lock", lock)]
}

/// One source under examination.
struct Patient<'a> {
    plan: &'a Plan,
    source: &'a Source,
    caller: &'a Caller,
    clients: &'a Clients,
    destination: &'a Side,
    checks: Vec<Check>,
}

/// What one page of a listing shows.
#[derive(Default)]
struct Sample {
    objects: usize,
    archived: usize,
    more: bool,
    /// The smallest that is not archived, and its size.
    smallest: Option<(String, i64)>,
    in_parts: usize,
}

impl Patient<'_> {
    async fn examine(mut self) -> Section {
        let own = Side::source(&self.clients.source, self.source);
        let vendor = self.clients.vendor.as_ref().map(|client| Side::vendor(client, self.source));
        let (route, prognosis) = match (self.plan.transfer, &vendor) {
            (Transfer::Stream, vendor) => {
                let side = vendor.as_ref().unwrap_or(&own);
                let prognosis = self.by_one(side, ["list", "read", "read tags"]).await.1;
                (Some((Route::Stream, "TRANSFER is stream, or the endpoints differ".into())), prognosis)
            }
            (Transfer::ServerSide, _) | (Transfer::Auto, None) => self.server_side(&own).await,
            (Transfer::Auto, Some(vendor)) => self.either(&own, vendor).await,
        };
        let Source { name, bucket, .. } = self.source;
        Section { name: name.to_string(), bucket: bucket.clone(), route, checks: self.checks, prognosis }
    }

    async fn server_side(&mut self, own: &Side) -> (Option<(Route, String)>, Prognosis) {
        let (sample, mut prognosis) = self.by_one(own, ["list", "read", "read tags"]).await;
        if prognosis < Prognosis::Hopeless && !self.prove(own, &sample).await {
            prognosis = Prognosis::Hopeless;
        }
        let route = (Route::ServerSide, "one identity reads the source and writes the destination".into());
        ((prognosis < Prognosis::Hopeless).then_some(route), prognosis)
    }

    /// The customer's own credentials first, the vendor's keys where those are refused.
    async fn either(&mut self, own: &Side, vendor: &Side) -> (Option<(Route, String)>, Prognosis) {
        let (by_vendor, with_keys) = self
            .by_one(vendor, ["list, vendor's keys", "read, vendor's keys", "read tags, vendor's keys"])
            .await;
        let keys = std::mem::take(&mut self.checks);
        let sample = match self.list(own, "list").await {
            Some(sample) => sample,
            None => by_vendor,
        };
        let may_list = self.checks.iter().all(|check| check.finding != Finding::Missing);
        let read = self.read(own, &sample, ["read", "read tags"]).await;
        let mut server_side = read == Prognosis::Good && (may_list || with_keys < Prognosis::Hopeless);
        if server_side {
            server_side = self.prove(own, &sample).await;
        }
        let refused = self.checks.iter().find(|check| check.finding == Finding::Missing);
        let refused = refused.and_then(|check| check.remedy.clone());
        let (route, prognosis) = if server_side {
            let because = "one identity reads the source and writes the destination";
            (Some((Route::ServerSide, because.to_owned())), Prognosis::Good)
        } else if with_keys < Prognosis::Hopeless {
            // What streaming makes up for is missing for nobody.
            for check in self.checks.iter_mut().filter(|check| check.finding == Finding::Missing) {
                check.finding = Finding::CannotTell;
                check.detail = "refused; the vendor's keys do it".into();
                check.remedy = None;
            }
            let because = refused.map_or_else(String::new, |remedy| format!(" ({remedy})"));
            let because = format!("the source refuses server-side copies{because}");
            (Some((Route::Stream, because)), with_keys)
        } else {
            (None, Prognosis::Hopeless)
        };
        self.checks.extend(keys);
        (route, prognosis)
    }

    async fn by_one(&mut self, side: &Side, [list, read, tags]: [&'static str; 3]) -> (Sample, Prognosis) {
        let Some(sample) = self.list(side, list).await else {
            return (Sample::default(), Prognosis::Hopeless);
        };
        let prognosis = self.read(side, &sample, [read, tags]).await;
        (sample, prognosis)
    }

    async fn list(&mut self, side: &Side, what: &'static str) -> Option<Sample> {
        let Side { client, bucket, owner, .. } = side;
        let list = self.caller.send(Operation::ListObjectsV2, || {
            let list = client.list_objects_v2().bucket(bucket).prefix(&self.plan.prefix);
            list.encoding_type(EncodingType::Url).set_expected_bucket_owner(owner.clone()).send()
        });
        let page = match list.await {
            Ok(page) => page,
            Err(error) => {
                self.checks.push(missing(what, &error, side.remedy(&error)));
                return None;
            }
        };
        let encoded = page.encoding_type().is_some();
        let mut sample = Sample { more: page.is_truncated() == Some(true), ..Sample::default() };
        for object in page.contents() {
            sample.objects += 1;
            let etag = ETag::parse(object.e_tag().unwrap_or_default());
            sample.in_parts += usize::from(matches!(etag, ETag::Multipart(..)));
            let class = object.storage_class();
            if matches!(class, Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)) {
                sample.archived += 1;
            } else if let (Some(key), Some(size)) = (crate::list::key(object, encoded), object.size())
                && sample.smallest.as_ref().is_none_or(|(_, smallest)| size < *smallest)
            {
                sample.smallest = Some((key, size));
            }
        }
        let at_least = if sample.more { "at least " } else { "" };
        let archived = match sample.archived {
            0 => String::new(),
            archived => format!(", {archived} archived"),
        };
        let detail = format!("{at_least}{} objects, {} in parts{archived}", sample.objects, sample.in_parts);
        self.checks.push(ok(what, detail));
        Some(sample)
    }

    async fn read(&mut self, side: &Side, sample: &Sample, [read, tags]: [&'static str; 2]) -> Prognosis {
        let Some((key, size)) = &sample.smallest else {
            let nothing =
                if sample.archived > 0 { "all that is seen is archived" } else { "there is no object yet" };
            self.checks.extend([cannot_tell(read, nothing), cannot_tell(tags, nothing)]);
            return Prognosis::Good;
        };
        let Side { client, bucket, owner, .. } = side;
        let head = self.caller.send(Operation::HeadObject, || {
            let head = client.head_object().bucket(bucket).key(key);
            head.set_expected_bucket_owner(owner.clone()).send()
        });
        let head = head.await;
        let got = match &head {
            Ok(_) => {
                let got = self.caller.send(Operation::GetObject, || {
                    let get = client.get_object().bucket(bucket).key(key);
                    // An empty object has no range.
                    let get = get.set_range((*size > 0).then(|| "bytes=0-0".to_owned()));
                    get.set_expected_bucket_owner(owner.clone()).send()
                });
                got.await.map(drop)
            }
            Err(error) => Err(error.clone()),
        };
        let mut reads = check(read, side, &got, &described(head.as_ref().ok()));
        // HEAD needs no key: where it answers, and S3 does not say more, the key is missing.
        if let (Ok(head), Err(error)) = (&head, &got)
            && error.kind == S3ErrorKind::AccessDenied
            && is_kms(head.server_side_encryption())
            && reads.remedy.as_ref().is_some_and(|remedy| remedy.text.contains("s3:GetObject "))
        {
            reads.remedy = Some(side.place().allow_key("kms:Decrypt", head.ssekms_key_id()));
            reads.detail = "kms:Decrypt".into();
        }
        self.checks.push(reads);
        let tagging = self.caller.send(Operation::GetObjectTagging, || {
            let tagging = client.get_object_tagging().bucket(bucket).key(key);
            tagging.set_expected_bucket_owner(owner.clone()).send()
        });
        let tagging = tagging.await;
        self.checks.push(check(tags, side, &tagging, ""));
        match (got, tagging) {
            (Err(_), _) => Prognosis::Hopeless,
            (_, Err(_)) => Prognosis::Partial,
            _ => Prognosis::Good,
        }
    }

    /// Copies the smallest object server-side; whether that works, as far as can be told.
    async fn prove(&mut self, own: &Side, sample: &Sample) -> bool {
        let what = "copy server-side";
        let Some((key, size)) = &sample.smallest else {
            self.checks.push(cannot_tell(what, "there is no object to copy"));
            return true;
        };
        if *size > LARGEST_PROOF {
            self.checks.push(cannot_tell(what, "the objects that come first are larger than 64 MiB"));
            return true;
        }
        let Side { client, bucket, owner, .. } = self.destination;
        let from = copy_source(&own.bucket, key);
        let kms_key_id = &self.plan.destination.kms_key_id;
        let copied = self.caller.send(Operation::CopyObject, || {
            let copy = client.copy_object().bucket(bucket).key(DOCTOR_KEY).copy_source(&from);
            copy.set_expected_bucket_owner(owner.clone())
                .set_expected_source_bucket_owner(own.owner.clone())
                .set_storage_class(self.plan.destination.storage_class.clone())
                .set_server_side_encryption(kms_key_id.is_some().then_some(ServerSideEncryption::AwsKms))
                .set_ssekms_key_id(kms_key_id.clone())
                .send()
        });
        match copied.await {
            Ok(_) => self.checks.push(ok(what, format!("its smallest object, to {DOCTOR_KEY}"))),
            Err(error) => self.checks.push(missing(what, &error, self.destination.remedy(&error))),
        }
        self.checks.last().is_some_and(|check| check.finding == Finding::Ok)
    }
}

/// What a HEAD tells of the object that was read.
fn described(head: Option<&HeadObjectOutput>) -> String {
    match head {
        Some(head) if is_kms(head.server_side_encryption()) => {
            format!("under SSE-KMS with {}", head.ssekms_key_id().unwrap_or("a key of its account"))
        }
        _ => String::new(),
    }
}
