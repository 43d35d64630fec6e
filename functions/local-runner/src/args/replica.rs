//! Where the backups are: what the commands that give them back have in common.

use bucket_copy::Settings;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Replica")]
pub(crate) struct ReplicaArgs {
    /// Your bucket, which holds the backups
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "BUCKET")]
    destination_bucket: Option<String>,
    /// Where the dumps are in it; "" is the bucket's root [default: database/]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "PREFIX")]
    database_prefix: Option<String>,
    /// Your region [default: the AWS configuration's]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "REGION")]
    destination_region: Option<String>,
    /// Your S3-compatible server [default: AWS]
    #[arg(long, env, hide_env = true, hide_env_values = true, value_name = "URL")]
    destination_endpoint_url: Option<String>,
}

impl ReplicaArgs {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            destination_bucket: self.destination_bucket.clone(),
            database_prefix: self.database_prefix.clone(),
            destination_region: self.destination_region.clone(),
            destination_endpoint_url: self.destination_endpoint_url.clone(),
            ..Settings::default()
        }
    }
}
