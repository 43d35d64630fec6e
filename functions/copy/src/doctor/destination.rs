//! What is tried at the destination.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{EncodingType, ServerSideEncryption};
use jiff::Timestamp;

use super::{Check, DOCTOR_KEY, Finding, Prognosis, Section, cannot_tell, check, ok};
use crate::Plan;
use crate::copy::annotations;
use crate::list::timestamp;
use crate::operation::Operation;
use crate::plan::Carry;
use crate::s3::{Caller, Side};
use crate::verify::is_kms;

pub(super) async fn examine_destination(caller: &Caller, plan: &Plan, side: &Side) -> Section {
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
        if plan.tags != Carry::Skip {
            let mut tagged =
                check("write tags", side, &put(Some("written-by=replicator")).await.map(drop), "");
            tagged.rename_right(side, "s3:PutObject", "s3:PutObjectTagging");
            checks.push(tagged);
        }
        if plan.annotations != Carry::Skip {
            checks.push(annotate(caller, side).await);
        }
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

/// Annotates the doctor's object, if the server knows annotations: another would take the
/// annotation for the object.
async fn annotate(caller: &Caller, side: &Side) -> Check {
    let what = "write annotations";
    match annotations::list(caller, side, DOCTOR_KEY, None).await {
        Ok(None) => return cannot_tell(what, "the server has no annotations"),
        Ok(Some(_)) => {}
        listed @ Err(_) => return check(what, side, &listed, ""),
    }
    let put = caller.send(Operation::PutObjectAnnotation, || {
        let put = side.client.put_object_annotation().bucket(&side.bucket).key(DOCTOR_KEY);
        put.annotation_name("written-by")
            .set_expected_bucket_owner(side.owner.clone())
            .annotation_payload(ByteStream::from_static(b"{\"name\": \"replicator\"}"))
            .send()
    });
    check(what, side, &put.await, "")
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
            Some(rule) => {
                let (number, unit) = match rule.days() {
                    Some(days) => (days, "day"),
                    None => (rule.years().unwrap_or_default(), "year"),
                };
                let mode = rule.mode().map_or("on", |mode| mode.as_str());
                format!("{mode} for {number} {unit}{}", if number == 1 { "" } else { "s" })
            }
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
