//! What is missing where S3 says no: which action, on what, in whose policy, as a statement
//! to paste. Pure.
//!
//! Within one account S3 names the caller, the action and the resource in its message;
//! across accounts it says "Access Denied" alone, and then the request tells the action.
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html>

use std::fmt;

use serde::{Deserialize, Serialize};

/// A statement that allows what is missing, as the policies of identities, buckets and keys
/// take it. `Display` is JSON on several lines, to be pasted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    effect: Effect,
    /// Of bucket and key policies alone: whom it allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    action: Vec<String>,
    resource: Vec<String>,
    /// Where it is to be added.
    #[serde(skip)]
    policy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Effect {
    Allow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Principal {
    #[serde(rename = "AWS")]
    aws: String,
}

impl Statement {
    /// The policy that it is to be added to, in words.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The actions that it allows.
    #[must_use]
    pub fn actions(&self) -> &[String] {
        &self.action
    }

    /// One statement of two that are for the same policy, principal and resource; else `false`.
    pub fn merge(&mut self, other: &Self) -> bool {
        let alike = (&self.policy, &self.principal, &self.resource)
            == (&other.policy, &other.principal, &other.resource);
        if alike {
            self.action.extend(other.action.clone());
            let mut seen = std::collections::HashSet::new();
            self.action.retain(|action| seen.insert(action.clone()));
        }
        alike
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
        let list = |texts: &[String]| texts.iter().map(quoted).collect::<Vec<_>>().join(", ");
        write!(f, "{{\"Effect\": \"Allow\",")?;
        if let Some(principal) = &self.principal {
            write!(f, "\n \"Principal\": {{\"AWS\": {}}},", quoted(&principal.aws))?;
        }
        write!(f, "\n \"Action\": [{}],\n \"Resource\": [{}]}}", list(&self.action), list(&self.resource))
    }
}

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// In words.
    #[serde(rename = "remedy")]
    pub text: String,
    /// The statement that does it, where a right is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Box<Statement>>,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: Into<String>> From<T> for Remedy {
    fn from(text: T) -> Self {
        Self { text: text.into(), statement: None }
    }
}

/// A bucket, and whose credentials were refused there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) bucket: &'a str,
    /// Its region, where the client knows it.
    pub(crate) region: Option<&'a str>,
    pub(crate) whose: Whose,
}

/// Whose credentials were refused, on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The vendor's bucket, to the customer's own role.
    OwnAtSource,
    /// The vendor's bucket, to the user whose keys the vendor gave.
    VendorAtSource,
    /// The customer's bucket, to the customer's own role.
    OwnAtDestination,
}

impl Place<'_> {
    /// What to allow so that S3 answers a request that needs `action`. `message` is S3's.
    pub(crate) fn refused(self, action: &str, message: &str) -> Remedy {
        match Said::of(message) {
            Some(said) => self.named(&said),
            None => self.allow(action),
        }
    }

    /// What to allow where S3 does not say.
    pub(crate) fn allow(self, action: &str) -> Remedy {
        let principal = (self.whose == Whose::OwnAtSource).then(|| WHO.to_owned());
        Remedy::allow(action, self.resource(action), self.policy(), principal)
    }

    /// What to allow on a KMS key of this side, where S3 does not say.
    pub(crate) fn allow_key(self, action: &str, key: Option<&str>) -> Remedy {
        let placeholder = format!("PUT THE ARN OF THE KMS KEY OF {} HERE", self.bucket);
        let key = key.unwrap_or(&placeholder).to_owned();
        Remedy::allow(action, key, self.key_policy(), Some(WHO.to_owned()))
    }

    /// What to do about what S3 named.
    fn named(self, said: &Said<'_>) -> Remedy {
        let action = said.action;
        let of_key = action.starts_with("kms:");
        let resource = match said.resource {
            Some(resource) if of_key => resource.to_owned(),
            _ => self.resource(action),
        };
        if let Some(policy) = said.denied_by() {
            return format!(
                "take {action} on {resource} out of the explicit Deny in {policy}: no Allow outweighs it"
            )
            .into();
        }
        let principal = || Some(said.role());
        let (policy, principal) = match said.lacking() {
            Some("identity-based policy") => (self.identity().to_owned(), None),
            Some("resource-based policy") if of_key => ("the key's policy".into(), principal()),
            Some("resource-based policy") if self.whose == Whose::OwnAtDestination => {
                ("your bucket's policy".into(), principal())
            }
            Some("resource-based policy") => ("the vendor's bucket policy".into(), principal()),
            Some(other) => (format!("the {other} of {}", said.role()), None),
            None if of_key => (self.key_policy().to_owned(), principal()),
            None if self.whose == Whose::OwnAtSource => (self.policy().to_owned(), principal()),
            None => (self.policy().to_owned(), None),
        };
        Remedy::allow(action, resource, &policy, principal)
    }

    /// The bucket's ARN, or that of all its objects.
    fn resource(self, action: &str) -> String {
        let partition = match self.region {
            Some(region) if region.starts_with("cn-") => "aws-cn",
            Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let access_point = self.bucket.starts_with("arn:");
        let bucket = match access_point {
            true => self.bucket.to_owned(),
            false => format!("arn:{partition}:s3:::{}", self.bucket),
        };
        if is_of_bucket(action) {
            return bucket;
        }
        format!("{bucket}{}", if access_point { "/object/*" } else { "/*" })
    }

    fn policy(self) -> &'static str {
        match self.whose {
            Whose::OwnAtSource => "the vendor's bucket policy, and without Principal in your role's policy",
            Whose::VendorAtSource | Whose::OwnAtDestination => self.identity(),
        }
    }

    fn identity(self) -> &'static str {
        match self.whose {
            Whose::VendorAtSource => "the policy of the vendor's user whose keys these are: ask the vendor",
            Whose::OwnAtSource | Whose::OwnAtDestination => "your role's policy",
        }
    }

    fn key_policy(self) -> &'static str {
        match self.whose {
            Whose::VendorAtSource => "the key's policy: ask the vendor",
            Whose::OwnAtSource => "the vendor's key policy, and without Principal in your role's policy",
            Whose::OwnAtDestination => "the key's policy, or without Principal in your role's policy",
        }
    }
}

/// Whether an action is on a bucket, not on its objects.
fn is_of_bucket(action: &str) -> bool {
    matches!(
        action,
        "s3:ListBucket"
            | "s3:ListBucketVersions"
            | "s3:ListBucketMultipartUploads"
            | "s3:GetBucketVersioning"
            | "s3:GetBucketObjectLockConfiguration"
            | "s3:GetEncryptionConfiguration"
    )
}

/// Stands for the caller's ARN where S3 does not name it.
const WHO: &str = "PUT THE ARN OF YOUR ROLE HERE, such as arn:aws:iam::111122223333:role/replicator";

impl Remedy {
    fn allow(action: &str, resource: String, policy: &str, principal: Option<String>) -> Self {
        let text = format!("allow {action} on {resource} in {policy}");
        let statement = Statement {
            effect: Effect::Allow,
            principal: principal.map(|aws| Principal { aws }),
            action: vec![action.to_owned()],
            resource: vec![resource],
            policy: policy.to_owned(),
        };
        Self { text, statement: Some(Box::new(statement)) }
    }
}

/// What S3 says in words: "User: A is not authorized to perform: B on resource: C because …".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    principal: &'a str,
    pub(crate) action: &'a str,
    pub(crate) resource: Option<&'a str>,
    because: &'a str,
}

impl<'a> Said<'a> {
    pub(crate) fn of(message: &'a str) -> Option<Self> {
        let (before, after) = message.split_once(" is not authorized to perform: ")?;
        let principal = before.rsplit("User: ").next()?.trim();
        let action = after.split(char::is_whitespace).next()?.trim_end_matches('.');
        let rest = &after[action.len()..];
        let on = rest.split_once("on resource: ").map(|(_, on)| on);
        let (resource, because) = match on {
            // A key may hold anything, a quote included.
            Some(on) if on.starts_with('"') => on[1..].rsplit_once('"').unwrap_or((&on[1..], "")),
            Some(on) => on.split_once(char::is_whitespace).unwrap_or((on, "")),
            None => ("", rest),
        };
        let resource = Some(resource.trim_end_matches('.')).filter(|resource| !resource.is_empty());
        Some(Self { principal, action, resource, because })
    }

    /// Whether it is about this bucket or an object in it.
    pub(crate) fn is_about(&self, bucket: &str) -> bool {
        let Some(resource) = self.resource else { return false };
        let rest = match resource.split_once(":::") {
            Some((_, path)) => path.strip_prefix(bucket),
            None => resource.strip_prefix(bucket),
        };
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The kind of policy in which no statement allows it.
    fn lacking(&self) -> Option<&'a str> {
        self.because.split_once("because no ")?.1.split_once(" allows").map(|(policy, _)| policy)
    }

    /// The policy with a statement that denies it.
    fn denied_by(&self) -> Option<&'a str> {
        Some(self.because.split_once("with an explicit deny in ")?.1.trim_end_matches('.'))
    }

    /// The caller, as a policy names it: a session's role.
    fn role(&self) -> String {
        let session = || {
            let (account, path) = self.principal.split_once(":sts::")?.1.split_once(":assumed-role/")?;
            let partition = self.principal.split(':').nth(1)?;
            let role = path.split('/').next()?;
            Some(format!("arn:{partition}:iam::{account}:role/{role}"))
        };
        session().unwrap_or_else(|| self.principal.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/replicator/replicator";

    fn at(whose: Whose) -> Place<'static> {
        Place { bucket: "dumps", region: Some("eu-west-3"), whose }
    }

    fn json(remedy: &Remedy) -> String {
        let shown = remedy.statement.as_ref().expect("a statement").to_string();
        let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON to paste");
        assert_eq!(read, serde_json::to_value(&remedy.statement).expect("JSON"), "{shown}");
        shown
    }

    #[test]
    fn a_bare_refusal_is_named_by_the_request() {
        let remedy = at(Whose::OwnAtSource).refused("s3:ListBucket", "Access Denied");
        assert!(remedy.text.starts_with("allow s3:ListBucket on arn:aws:s3:::dumps in the vendor's bucket"));
        assert_eq!(
            json(&remedy),
            "{\"Effect\": \"Allow\",\n \"Principal\": {\"AWS\": \"PUT THE ARN OF YOUR ROLE HERE, such as \
             arn:aws:iam::111122223333:role/replicator\"},\n \"Action\": [\"s3:ListBucket\"],\n \
             \"Resource\": [\"arn:aws:s3:::dumps\"]}"
        );
        let remedy = at(Whose::OwnAtDestination).refused("s3:PutObject", "");
        assert_eq!(remedy.text, "allow s3:PutObject on arn:aws:s3:::dumps/* in your role's policy");
        assert!(!json(&remedy).contains("Principal"));
        let china = Place { region: Some("cn-north-1"), ..at(Whose::VendorAtSource) };
        assert!(china.allow("s3:GetObject").text.contains(" on arn:aws-cn:s3:::dumps/* in the policy of"));
        let point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/dumps";
        let point = Place { bucket: point, ..at(Whose::VendorAtSource) }.allow("s3:GetObject").text;
        assert!(point.contains("accesspoint/dumps/object/* "), "{point}");
    }

    #[test]
    fn what_s3_names_is_what_is_allowed_where_s3_says() {
        let message = |action: &str, on: &str, because: &str| {
            format!("User: {ROLE} is not authorized to perform: {action} on resource: {on} {because}")
        };
        let own = "because no identity-based policy allows the s3:GetObject action";
        let said = message("s3:GetObject", "\"arn:aws:s3:::dumps/a \"b\" on\"", own);
        let remedy = at(Whose::OwnAtSource).refused("s3:PutObject", &said);
        assert_eq!(remedy.text, "allow s3:GetObject on arn:aws:s3:::dumps/* in your role's policy");
        assert!(!json(&remedy).contains("Principal"));

        let key = "arn:aws:kms:eu-west-3:999999999999:key/1";
        let theirs = "because no resource-based policy allows the kms:Decrypt action";
        let remedy = at(Whose::OwnAtSource).refused("s3:PutObject", &message("kms:Decrypt", key, theirs));
        assert_eq!(remedy.text, format!("allow kms:Decrypt on {key} in the key's policy"));
        assert!(json(&remedy).contains("{\"AWS\": \"arn:aws:iam::111122223333:role/replicator\"}"));

        let limit = "because no permissions boundary allows the s3:PutObject action";
        let said = message("s3:PutObject", "\"arn:aws:s3:::dumps/k\"", limit);
        let remedy = at(Whose::OwnAtDestination).refused("s3:PutObject", &said);
        assert!(remedy.text.contains("in the permissions boundary of arn:aws:iam"), "{}", remedy.text);
    }

    #[test]
    fn no_statement_is_offered_against_an_explicit_deny() {
        let said = format!(
            "User: {ROLE} is not authorized to perform: s3:PutObject on resource: \"arn:aws:s3:::dumps/k\" \
             with an explicit deny in a service control policy"
        );
        let remedy = at(Whose::OwnAtDestination).refused("s3:PutObject", &said);
        assert_eq!(remedy.statement, None);
        assert!(remedy.text.contains("out of the explicit Deny in a service control policy"));
    }

    #[test]
    fn a_message_tells_which_bucket_it_is_about() {
        let said = |resource: &str| {
            let message =
                format!("User: a is not authorized to perform: s3:GetObject on resource: {resource} because");
            Said::of(&message).expect("words").is_about("dumps")
        };
        assert!(said("\"arn:aws:s3:::dumps/k\"") && said("\"arn:aws:s3:::dumps\""));
        assert!(!said("\"arn:aws:s3:::dumps-2/k\"") && !said("arn:aws:kms:a:b:key/dumps"));
        assert_eq!(Said::of("Access Denied"), None);
        let bare = Said::of("User: x is not authorized to perform: kms:Decrypt").expect("words");
        assert_eq!((bare.action, bare.resource), ("kms:Decrypt", None));
    }
}
