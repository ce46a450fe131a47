//! The sources of the credentials, the region and the endpoint.

use aws_config::{
    SdkConfig, environment::EnvironmentVariableRegionProvider, imds::region::ImdsRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
    provider_config::ProviderConfig,
};
use aws_sdk_s3::config::{Credentials, ProvideCredentials, Region, SharedHttpClient};
use aws_types::service_config::ServiceConfigKey;

use crate::error::{S3Error, format_chain};

/// The region for S3-compatible stores if none is configured.
const DEFAULT_REGION: Region = Region::from_static("us-east-1");

/// Returns the value of an environment variable; `None` if the variable is blank or not set.
#[expect(clippy::disallowed_methods, reason = "the AWS_ variables belong to the SDK")]
fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns the sources of the region. The EC2 metadata service is a source only if the environment
/// contains no custom endpoint, because a custom endpoint usually means that the store is not AWS
/// S3.
pub(crate) fn region_chain(http: &SharedHttpClient) -> RegionProviderChain {
    let has_endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .any(|name| read_variable(name).is_some());
    let configured = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    if has_endpoint {
        configured.or_else(DEFAULT_REGION)
    } else {
        let config = ProviderConfig::default().with_http_client(http.clone());
        configured.or_else(ImdsRegionProvider::builder().configure(&config).build())
    }
}

/// Returns the configured region. If no region is configured, returns the default region for a
/// custom endpoint, or an error without a custom endpoint.
pub(crate) fn find_region(sdk: &SdkConfig, endpoint: Option<&str>) -> Result<Region, S3Error> {
    let found = sdk.region().filter(|region| !region.as_ref().trim().is_empty()).cloned();
    match (found, endpoint) {
        (Some(region), _) => Ok(region),
        (None, Some(_)) => Ok(DEFAULT_REGION),
        (None, None) => Err(S3Error::NoCredentials("AWS_REGION is not set".to_owned())),
    }
}

/// Returns the custom S3 endpoint from `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or a profile;
/// `None` if none is configured.
pub(crate) fn find_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let service_endpoint =
        sdk.service_config().zip(key.ok()).and_then(|(config, key)| config.load_config(key));
    let found = service_endpoint.or_else(|| sdk.endpoint_url().map(str::to_owned));
    found.filter(|endpoint| !endpoint.trim().is_empty())
}

/// Loads the current credentials.
pub(crate) async fn find_credentials(sdk: &SdkConfig) -> Result<Credentials, S3Error> {
    let Some(provider) = sdk.credentials_provider() else {
        return Err(S3Error::NoCredentials(describe_missing("no credentials provider")));
    };
    let found = provider.provide_credentials().await;
    found.map_err(|error| S3Error::NoCredentials(describe_missing(&format_chain(&error))))
}

/// Describes why there are no credentials. Includes `reason` if the key ID and the secret are set,
/// or if the key ID is not set but another source is configured. Otherwise, names the missing
/// variable.
pub(crate) fn describe_missing(reason: &str) -> String {
    const OTHER_SOURCES: [&str; 4] = [
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let key = read_variable("AWS_ACCESS_KEY_ID");
    let secret = read_variable("AWS_SECRET_ACCESS_KEY");
    let other_source = OTHER_SOURCES.into_iter().find(|name| read_variable(name).is_some());
    match (key, secret, other_source) {
        (None, _, Some(name)) => format!("no credentials from {name}: {reason}"),
        (None, _, None) => "AWS_ACCESS_KEY_ID is not set".to_owned(),
        (Some(_), None, _) => "AWS_SECRET_ACCESS_KEY is not set".to_owned(),
        (Some(_), Some(_), _) => format!("no credentials: {reason}"),
    }
}
