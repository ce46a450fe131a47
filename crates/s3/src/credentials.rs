//! Where credentials, region and endpoint come from.

use aws_config::{
    SdkConfig, environment::EnvironmentVariableRegionProvider, imds::region::ImdsRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
    provider_config::ProviderConfig,
};
use aws_sdk_s3::config::{Credentials, ProvideCredentials, Region, SharedHttpClient};
use aws_types::service_config::ServiceConfigKey;

use crate::error::{S3Error, chain};

/// What stores that are not Amazon's are asked as, where nothing is said.
const REGION_DEFAULT: Region = Region::from_static("us-east-1");

/// A name of the environment, if it is set to something.
#[expect(clippy::disallowed_methods, reason = "the AWS_ names are the library's, read as it does")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Says where the region is to be looked for. A machine of Amazon's is asked only where the store
/// may be Amazon's.
pub(crate) fn region_chain(http: &SharedHttpClient) -> RegionProviderChain {
    let has_endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .any(|name| variable(name).is_some());
    let said = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    if has_endpoint {
        said.or_else(REGION_DEFAULT)
    } else {
        let config = ProviderConfig::default().with_http_client(http.clone());
        said.or_else(ImdsRegionProvider::builder().configure(&config).build())
    }
}

/// The region that was found.
pub(crate) fn find_region(sdk: &SdkConfig, endpoint: Option<&str>) -> Result<Region, S3Error> {
    let found = sdk.region().filter(|region| !region.as_ref().trim().is_empty()).cloned();
    match (found, endpoint) {
        (Some(region), _) => Ok(region),
        (None, Some(_)) => Ok(REGION_DEFAULT),
        (None, None) => Err(S3Error::NoCredentials("AWS_REGION is not set".to_owned())),
    }
}

/// The endpoint of S3, from `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or a profile.
pub(crate) fn find_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_s3 =
        sdk.service_config().zip(key.ok()).and_then(|(config, key)| config.load_config(key));
    let found = of_s3.or_else(|| sdk.endpoint_url().map(str::to_owned));
    found.filter(|endpoint| !endpoint.trim().is_empty())
}

/// The credentials as they are now.
pub(crate) async fn find_credentials(sdk: &SdkConfig) -> Result<Credentials, S3Error> {
    let Some(provider) = sdk.credentials_provider() else {
        return Err(S3Error::NoCredentials(missing("no source of credentials")));
    };
    let found = provider.provide_credentials().await;
    found.map_err(|error| S3Error::NoCredentials(missing(&chain(&error))))
}

/// Says which name is missing; the reason itself where credentials are to come from elsewhere.
pub(crate) fn missing(reason: &str) -> String {
    const ELSEWHERE: [&str; 4] = [
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let key = variable("AWS_ACCESS_KEY_ID");
    let secret = variable("AWS_SECRET_ACCESS_KEY");
    let elsewhere = ELSEWHERE.into_iter().find(|name| variable(name).is_some());
    match (key, secret, elsewhere) {
        (None, _, Some(name)) => format!("no credentials by {name}: {reason}"),
        (None, _, None) => "AWS_ACCESS_KEY_ID is not set".to_owned(),
        (Some(_), None, _) => "AWS_SECRET_ACCESS_KEY is not set".to_owned(),
        (Some(_), Some(_), _) => format!("no credentials: {reason}"),
    }
}
