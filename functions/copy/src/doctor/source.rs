//! What is tried at a source.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    AnnotationDirective, EncodingType, ObjectStorageClass, ServerSideEncryption, TaggingDirective,
};

use super::{Check, DOCTOR_KEY, Finding, Prognosis, Section, cannot_tell, check, missing, ok};
use crate::copy::{annotations, copy_source};
use crate::operation::Operation;
use crate::plan::Carry;
use crate::s3::{Caller, Side};
use crate::verify::is_kms;
use crate::{Clients, ETag, Plan, Route, S3ErrorKind, Source, Transfer};

/// A source's object is copied for proof if it is no larger: 64 MiB.
const LARGEST_PROOF: i64 = 64 << 20;

/// What is tried of a source.
const TRIALS: [&str; 4] = ["list", "read", "read tags", "read annotations"];
const TRIALS_BY_VENDOR: [&str; 4] = [
    "list, vendor's keys",
    "read, vendor's keys",
    "read tags, vendor's keys",
    "read annotations, vendor's keys",
];

/// One source under examination.
pub(super) struct Patient<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: &'a Source,
    pub(super) caller: &'a Caller,
    pub(super) clients: &'a Clients,
    pub(super) destination: &'a Side,
    pub(super) checks: Vec<Check>,
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
    pub(super) async fn examine(mut self) -> Section {
        let own = Side::source(&self.clients.source, self.source);
        let vendor = self.clients.vendor.as_ref().map(|client| Side::vendor(client, self.source));
        let (route, prognosis) = match (self.plan.transfer, &vendor) {
            (Transfer::Stream, vendor) => {
                let side = vendor.as_ref().unwrap_or(&own);
                let prognosis = self.by_one(side, TRIALS).await.1;
                (Some((Route::Stream, "TRANSFER is stream, or the endpoints differ".into())), prognosis)
            }
            (Transfer::ServerSide, _) | (Transfer::Auto, None) => self.server_side(&own).await,
            (Transfer::Auto, Some(vendor)) => self.either(&own, vendor).await,
        };
        let Source { name, bucket, .. } = self.source;
        Section { name: name.to_string(), bucket: bucket.clone(), route, checks: self.checks, prognosis }
    }

    async fn server_side(&mut self, own: &Side) -> (Option<(Route, String)>, Prognosis) {
        let (sample, mut prognosis) = self.by_one(own, TRIALS).await;
        // What a run can go on without, it finds a way around.
        let around = prognosis == Prognosis::Partial && self.plan.tags != Carry::Copy;
        if prognosis < Prognosis::Hopeless && !self.prove(own, &sample).await && !around {
            prognosis = Prognosis::Hopeless;
        }
        let route = (Route::ServerSide, "one identity reads the source and writes the destination".into());
        ((prognosis < Prognosis::Hopeless).then_some(route), prognosis)
    }

    /// The customer's own credentials first, the vendor's keys where those are refused.
    async fn either(&mut self, own: &Side, vendor: &Side) -> (Option<(Route, String)>, Prognosis) {
        let (by_vendor, with_keys) = self.by_one(vendor, TRIALS_BY_VENDOR).await;
        let keys = std::mem::take(&mut self.checks);
        let sample = match self.list(own, TRIALS[0]).await {
            Some(sample) => sample,
            None => by_vendor,
        };
        let may_list = self.checks.iter().all(|check| check.finding != Finding::Missing);
        let read = self.read(own, &sample, TRIALS).await;
        // Annotations alone are no reason to stream, where they may be left behind.
        let bare = |check: &Check| check.what == TRIALS[3] && self.plan.annotations == Carry::Auto;
        let refused = |check: &&Check| check.finding == Finding::Missing && !bare(check);
        let mut server_side = read < Prognosis::Hopeless
            && self.checks.iter().filter(refused).all(|check| check.what == TRIALS[0])
            && (may_list || with_keys < Prognosis::Hopeless);
        if server_side {
            server_side = self.prove(own, &sample).await;
        }
        let refused = self.checks.iter().find(|check| check.finding == Finding::Missing);
        let refused = refused.and_then(|check| check.remedy.clone());
        let (route, prognosis) = if server_side {
            let because = "one identity reads the source and writes the destination";
            (Some((Route::ServerSide, because.to_owned())), read)
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

    async fn by_one(&mut self, side: &Side, trials: [&'static str; 4]) -> (Sample, Prognosis) {
        let Some(sample) = self.list(side, trials[0]).await else {
            return (Sample::default(), Prognosis::Hopeless);
        };
        let prognosis = self.read(side, &sample, trials).await;
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

    async fn read(&mut self, side: &Side, sample: &Sample, trials: [&'static str; 4]) -> Prognosis {
        let [_, read, tags, notes] = trials;
        let Some((key, size)) = &sample.smallest else {
            let nothing =
                if sample.archived > 0 { "all that is seen is archived" } else { "there is no object yet" };
            self.checks.extend([read, tags, notes].map(|what| cannot_tell(what, nothing)));
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
        let mut prognosis = if got.is_ok() { Prognosis::Good } else { Prognosis::Hopeless };
        if self.plan.tags != Carry::Skip {
            let tagging = self.caller.send(Operation::GetObjectTagging, || {
                let tagging = client.get_object_tagging().bucket(bucket).key(key);
                tagging.set_expected_bucket_owner(owner.clone()).send()
            });
            self.checks.push(check(tags, side, &tagging.await, ""));
        }
        if self.plan.annotations != Carry::Skip {
            self.checks.push(match annotations::list(self.caller, side, key, None).await {
                Ok(None) => cannot_tell(notes, "the server has no annotations"),
                listed => check(notes, side, &listed, ""),
            });
        }
        let lacks = |check: &Check| [tags, notes].contains(&check.what) && check.finding == Finding::Missing;
        if self.checks.iter().any(lacks) {
            prognosis = prognosis.max(Prognosis::Partial);
        }
        prognosis
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
        let untagged = self.plan.tags == Carry::Skip;
        let refused = |check: &Check| check.what == TRIALS[3] && check.finding == Finding::Missing;
        let bare = match self.plan.annotations {
            Carry::Copy => false,
            Carry::Skip => true,
            Carry::Auto => self.checks.iter().any(refused),
        };
        let copied = self.caller.send(Operation::CopyObject, || {
            let copy = client.copy_object().bucket(bucket).key(DOCTOR_KEY).copy_source(&from);
            copy.set_expected_bucket_owner(owner.clone())
                .set_tagging_directive(untagged.then_some(TaggingDirective::Replace))
                .set_annotation_directive(bare.then_some(AnnotationDirective::Exclude))
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
