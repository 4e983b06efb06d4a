//! Where an object store is and who asks.

use std::time::Duration;

use polars::{
    io::cloud::{CloudOptions, CloudRetryConfig},
    prelude::{CloudScheme, PolarsResult},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where an object store is and who asks. What is not given comes from the environment, as the store's own tools read it:
/// `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storage {
    /// The service's address, where it is not the cloud's own: `http://127.0.0.1:9000`.
    #[schemars(length(min = 1))]
    endpoint: Option<String>,
    /// The region (S3).
    #[schemars(length(min = 1))]
    region: Option<String>,
    /// The access key's name (S3).
    access_key_id: Option<String>,
    /// The access key's secret (S3): `"${secret:NAME}"`.
    secret_access_key: Option<String>,
    /// The token of a temporary access key (S3): `"${secret:NAME}"`.
    session_token: Option<String>,
    /// The storage account (Azure).
    #[schemars(length(min = 1))]
    account: Option<String>,
    /// The account's key (Azure): `"${secret:NAME}"`.
    account_key: Option<String>,
    /// The file with the service account's key (Google).
    #[schemars(length(min = 1))]
    service_account: Option<String>,
    /// Whether to ask without credentials, for public objects.
    #[serde(default)]
    anonymous: bool,
}

impl Storage {
    pub(super) fn options(&self, scheme: CloudScheme) -> PolarsResult<CloudOptions> {
        let endpoint = match Service::of(scheme) {
            Service::Google => "base_url",
            Service::S3 | Service::Azure => "endpoint",
        };
        let service_account = "service_account";
        let given = [
            (endpoint, &self.endpoint),
            ("region", &self.region),
            ("access_key_id", &self.access_key_id),
            ("secret_access_key", &self.secret_access_key),
            ("session_token", &self.session_token),
            ("account_name", &self.account),
            ("account_key", &self.account_key),
            (service_account, &self.service_account),
        ];
        let mut settings: Vec<(&str, String)> = given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .collect();
        if self.anonymous {
            settings.push(("skip_signature", "true".to_owned()));
        }
        settings.push(("connect_timeout", "10s".to_owned()));
        // Settings of other clouds are passed over.
        let options = CloudOptions::from_untyped_config(Some(scheme), settings)?;
        Ok(options.with_retry_config(CloudRetryConfig {
            max_retries: Some(2),
            retry_timeout: Some(Duration::from_secs(15)),
            ..CloudRetryConfig::default()
        }))
    }

    /// Without what is secret, should the message hold it.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let secrets = [
            &self.secret_access_key,
            &self.session_token,
            &self.account_key,
        ];
        for secret in secrets
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
        {
            text = text.replace(secret.as_str(), "…");
        }
        text
    }
}

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Google,
    Azure,
}

impl Service {
    pub(super) fn of(scheme: CloudScheme) -> Self {
        match scheme {
            CloudScheme::Gs | CloudScheme::Gcs => Self::Google,
            CloudScheme::Az
            | CloudScheme::Azure
            | CloudScheme::Abfs
            | CloudScheme::Abfss
            | CloudScheme::Adl => Self::Azure,
            _ => Self::S3,
        }
    }

    /// What a bucket is called there.
    pub(super) fn bucket(self) -> &'static str {
        match self {
            Self::S3 | Self::Google => "bucket",
            Self::Azure => "container",
        }
    }

    pub(super) fn credentials(self) -> &'static str {
        match self {
            Self::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give `storage: {access_key_id: …, secret_access_key: \"${secret:NAME}\"}`; for public objects `storage: {anonymous: true}`"
            }
            Self::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS, or give `storage: {service_account: key.json}`; for public objects `storage: {anonymous: true}`"
            }
            Self::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or give `storage: {account: …, account_key: \"${secret:NAME}\"}`; for public objects `storage: {account: …, anonymous: true}`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_key() {
        let storage = Storage {
            secret_access_key: Some("top-secret".into()),
            ..Storage::default()
        };
        assert_eq!(storage.hide("said top-secret twice"), "said … twice");
    }
}
