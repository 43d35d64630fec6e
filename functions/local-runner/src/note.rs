//! `local-runner note`: a label and free metadata for a backup, kept beside it as an object of
//! the replicator's own. Two people who write one note at once do not overwrite each other.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bucket_copy::{Halt, RESERVED_PREFIX, SourceName};
use serde::{Deserialize, Serialize};

use crate::args::{At, Note, ReplicaArgs, What};
use crate::backups::{Backups, Sides};
use crate::escape::escape;
use crate::exit::Usage;
use crate::logs;
use crate::progress::{Manner, Progress};
use crate::replicate::print;
use crate::rotate::{patient, said};

/// Bytes that S3 allows a key.
const LONGEST_KEY: usize = 1024;

/// What is noted of one backup. Empty: nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

pub(crate) async fn command(args: &Note) -> anyhow::Result<ExitCode> {
    logs::init(Progress::new(Manner::Quiet).bar());
    match &args.what {
        What::Add { key, label, set, replica } => {
            let fields: Vec<(&str, &str)> = set
                .iter()
                .map(|field| field.split_once('=').filter(|(name, _)| !name.is_empty()))
                .collect::<Option<_>>()
                .ok_or_else(|| Usage::Field(set.join(" ")))?;
            let replica = connect(replica).await?;
            let noted = change(&replica, key, |noted| {
                if label.is_some() {
                    noted.label.clone_from(label);
                }
                noted.metadata.extend(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())));
            });
            print(&lines(key, &noted.await?))?;
        }
        What::Remove { key, field, replica } => {
            let replica = connect(replica).await?;
            let noted = change(&replica, key, |noted| match field.is_empty() {
                true => *noted = Noted::default(),
                false => noted.metadata.retain(|name, _| !field.contains(name)),
            });
            print(&lines(key, &noted.await?))?;
        }
        What::Show { key, json, replica } => {
            let replica = connect(replica).await?;
            let notes = match key {
                Some(key) => BTreeMap::from([(key.clone(), read(&replica, key).await?.0)]),
                None => all(&replica).await?,
            };
            let text = match json {
                true => serde_json::to_string_pretty(&notes)?,
                false if notes.is_empty() => "There are no notes".to_owned(),
                false => notes.iter().map(|(key, noted)| lines(key, noted)).collect::<Vec<_>>().join("\n"),
            };
            print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(args: &ReplicaArgs) -> anyhow::Result<Backups> {
    Sides::connect(args.settings()).await?.get(At::Destination, SourceName::Database, &Halt::never())
}

/// Every note that is not empty, by the backup's key.
pub(crate) async fn all(replica: &Backups) -> anyhow::Result<BTreeMap<String, Noted>> {
    let prefix = format!("{RESERVED_PREFIX}notes/");
    let mut listing = replica.bucket.clone().list(&prefix).await?;
    let mut notes = BTreeMap::new();
    while let Some(object) = listing.next().await? {
        let Some(key) = object.key[prefix.len()..].strip_suffix(".json") else { continue };
        let (noted, _) = read(replica, key).await?;
        if noted != Noted::default() {
            notes.insert(key.to_owned(), noted);
        }
    }
    Ok(notes)
}

fn place(key: &str) -> anyhow::Result<String> {
    let place = format!("{RESERVED_PREFIX}notes/{key}.json");
    if key.is_empty() || place.len() > LONGEST_KEY {
        return Err(Usage::NoteKey(key.to_owned()).into());
    }
    Ok(place)
}

/// A backup's note, and the ETag of its object if there is one.
async fn read(replica: &Backups, key: &str) -> anyhow::Result<(Noted, Option<String>)> {
    let place = place(key)?;
    let get = replica.client.get_object().bucket(&replica.name).key(&place);
    let got = match get.customize().config_override(patient()).send().await {
        Ok(got) => got,
        Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => {
            return Ok((Noted::default(), None));
        }
        Err(error) => {
            return Err(said(&error, "s3:GetObject and s3:ListBucket")
                .context(format!("cannot read {}", replica.address(&place))));
        }
    };
    let etag = got.e_tag().map(str::to_owned);
    let bytes =
        got.body.collect().await.with_context(|| format!("cannot read {}", replica.address(&place)))?;
    let noted = serde_json::from_slice(&bytes.into_bytes())
        .with_context(|| format!("{} is no note: remove it, or write it anew", replica.address(&place)))?;
    Ok((noted, etag))
}

/// Changes a backup's note, and answers what it is now.
async fn change(replica: &Backups, key: &str, change: impl Fn(&mut Noted)) -> anyhow::Result<Noted> {
    let place = place(key)?;
    let (before, etag) = read(replica, key).await?;
    let mut noted = before.clone();
    change(&mut noted);
    if noted == before {
        return Ok(noted);
    }
    let put = replica.client.put_object().bucket(&replica.name).key(&place).content_type("application/json");
    let put = put.body(ByteStream::from(serde_json::to_vec_pretty(&noted)?));
    let put = match etag {
        Some(etag) => put.if_match(etag),
        None => put.if_none_match("*"),
    };
    let answer = put.customize().config_override(patient()).send().await;
    if let Err(error) = answer {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let address = replica.address(&place);
        return Err(match status {
            Some(409 | 412) => anyhow::anyhow!("somebody else changed {address} meanwhile: run again"),
            _ => said(&error, "s3:PutObject").context(format!("cannot write {address}")),
        });
    }
    Ok(noted)
}

fn lines(key: &str, noted: &Noted) -> String {
    if *noted == Noted::default() {
        return format!("{}: nothing is noted", escape(key));
    }
    let mut text = format!("{}: {}", escape(key), noted.label.as_deref().map_or("".into(), escape));
    for (name, value) in &noted.metadata {
        text.push_str(&format!("\n  {}: {}", escape(name), escape(value)));
    }
    text
}
