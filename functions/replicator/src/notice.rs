//! A notice to people, through an SNS topic (`TOPIC_ARN`), when a run did not bring
//! everything over: what happened, and what to do.

use std::fmt::Write;

use aws_sdk_sns::Client;
use bucket_copy::{Report, Status};
use tokio::sync::OnceCell;

/// What a notice says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// At most 100 ASCII characters, as SNS takes them.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) body: String,
}

/// Failures named in a notice; the report has more.
const NAMED: usize = 10;

/// The notice about a run; `None` for one that is complete, or wrote nothing because nothing
/// was to be written.
pub(crate) fn about(report: &Report, summary: &str) -> Option<Notice> {
    if report.dry_run || report.status == Status::Complete {
        return None;
    }
    let subject = match report.status {
        Status::Complete | Status::ObjectsMissing => "Backup copy not complete: objects are missing",
        Status::Stopped => "Backup copy not finished: the next run goes on",
        Status::Failed => "Backup copy failed: a source was given up",
    };
    let mut body = format!("{summary}\n");
    for source in &report.sources {
        let from = &source.bucket;
        let _ = write!(body, "\n{}: s3://{from}\n", source.source);
        if let Some(error) = &source.error {
            let _ = write!(body, "  given up: {}\n  what to do: {}\n", error.message, error.remedy);
        }
        if let Some(key) = &source.stopped_after {
            let _ = writeln!(body, "  stopped after {key:?}; the next run goes on");
        }
        for piece in source.handed_over.iter().flat_map(|over| &over.left).take(NAMED) {
            let _ = writeln!(
                body,
                "  not done: keys after {:?} (piece {}): {}",
                piece.after, piece.piece, piece.because
            );
        }
        for object in source.failures.iter().take(NAMED) {
            let failure = &object.failure;
            let _ = write!(
                body,
                "  failed: {:?}\n    {}\n    what to do: {}\n",
                object.key, failure.message, failure.remedy
            );
        }
        let more = source.failed.objects.saturating_sub(NAMED as u64);
        if more > 0 {
            let _ = writeln!(body, "  and {more} more failed");
        }
        if source.archived.objects > 0 {
            let _ = writeln!(
                body,
                "  {} objects are archived; have them restored at the vendor, then run again",
                source.archived.objects
            );
        }
    }
    if let Some(source) = report.sources.first() {
        let _ = write!(body, "\nThe report: s3://{}/.replicator/reports/\n", source.destination_bucket);
    }
    Some(Notice { subject: subject.to_owned(), body })
}

/// The notice about an invocation that ended without a run.
pub(crate) fn about_error(error_type: &str, message: &str) -> Notice {
    Notice {
        subject: format!("Backup copy failed: {error_type}"),
        body: format!(
            "{message}\n\nNothing is lost: what is at the destination stays. Run again once this is mended.\n"
        ),
    }
}

/// Sends notices to one topic.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    arn: Option<String>,
    /// Made when there is something to say, which a cold start should not wait for.
    client: OnceCell<Client>,
}

impl Topic {
    /// To the topic with this ARN; to nobody where it is `None` or empty.
    pub(crate) fn new(arn: Option<String>) -> Self {
        Self { arn: arn.filter(|arn| !arn.is_empty()), client: OnceCell::new() }
    }

    /// Sends it. A notice that cannot be sent is a line in the log: the run's own result
    /// stands, and an alarm watches the metrics.
    pub(crate) async fn send(&self, notice: Notice) {
        let Some(arn) = &self.arn else { return };
        let client = self
            .client
            .get_or_init(async || {
                Client::new(&aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await)
            })
            .await;
        let sent = client.publish().topic_arn(arn).subject(notice.subject).message(notice.body).send().await;
        if let Err(error) = sent {
            let error = aws_sdk_sns::error::DisplayErrorContext(error);
            tracing::error!(topic = arn, %error, "the notice could not be sent; check TOPIC_ARN and sns:Publish");
        }
    }
}
