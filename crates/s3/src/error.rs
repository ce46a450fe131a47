//! Errors from S3, classified by how an operator can react.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// A failed call to S3.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The credentials could not be loaded, or the region is missing. The text states the cause.
    #[error("{0}")]
    NoCredentials(String),
    /// S3 rejected the credentials or the request. The cause is usually a wrong or expired
    /// credential, a missing permission, a wrong region or a wrong system time.
    #[error("S3 rejected the request: {0}")]
    Rejected(String),
    /// S3 cannot be reached, or reports a temporary failure. Retry later.
    #[error("S3 is unavailable: {0}")]
    Unavailable(String),
    /// S3 did not respond in time. S3 may still execute the request.
    #[error("S3 is unavailable: {0}")]
    Timeout(String),
    /// Any other failure.
    #[error("S3 failed: {0}")]
    Other(String),
}

impl S3Error {
    /// Returns whether an operator usually has to correct the cause, such as missing or wrong
    /// credentials.
    #[must_use]
    pub fn is_access_error(&self) -> bool {
        matches!(self, Self::NoCredentials(_) | Self::Rejected(_))
    }
}

/// A failed request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// S3 could not be reached, or closed the connection before it responded.
    NoResponse(String),
    /// S3 did not respond in time.
    Timeout(String),
    /// S3 responded with an error, or the response could not be parsed. If there is no error code,
    /// `code` is the status, such as `status 403`.
    Response { status: u16, code: String },
    /// The request could not be constructed.
    NotSent(String),
}

impl Failure {
    pub(crate) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(response) => {
                let status = response.raw().status().as_u16();
                let code = response.err().code().map(str::to_owned);
                Self::Response { status, code: code.unwrap_or_else(|| format!("status {status}")) }
            }
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                Self::Response { status, code: format!("status {status}") }
            }
            SdkError::ConstructionFailure(_) => Self::NotSent(format_chain(error)),
            SdkError::TimeoutError(_) => Self::Timeout(format_chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Self::Timeout(format_chain(error))
            }
            _ => Self::NoResponse(format_chain(error)),
        }
    }

    pub(crate) fn is_code(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Response { code, .. } if codes.contains(&code.as_str()))
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoResponse(why) => Self::Unavailable(why),
            Failure::Timeout(why) => Self::Timeout(why),
            Failure::NotSent(why) => Self::Other(why),
            Failure::Response { status, code } => match (explain(&code), status) {
                (Some(why), _) => Self::Rejected(format!("{code}, {why}")),
                (None, 401 | 403) => Self::Rejected(code),
                (None, 429 | 500..) => Self::Unavailable(code),
                (None, _) => Self::Other(code),
            },
        }
    }
}

/// Returns the likely cause of an error code; `None` if the cause is unclear or temporary.
fn explain(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidAccessKeyId" | "NotSignedUp" => "AWS_ACCESS_KEY_ID is unknown",
        "SignatureDoesNotMatch" => "AWS_SECRET_ACCESS_KEY is wrong",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "AWS_SESSION_TOKEN is wrong or has expired"
        }
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "AuthorizationQueryParametersError" => "AWS_REGION is wrong",
        "RequestTimeTooSkewed" => "the clock of this machine is wrong",
        "AccessDenied" => "a permission is missing",
        _ => return None,
    })
}

/// Formats an error and its chain of sources in one line.
pub(crate) fn format_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str) -> S3Error {
        Failure::Response { status, code: code.to_owned() }.into()
    }

    #[test]
    fn rejection_names_the_likely_cause() {
        let wrong = error(403, "SignatureDoesNotMatch");
        assert!(wrong.is_access_error());
        assert_eq!(
            wrong.to_string(),
            "S3 rejected the request: SignatureDoesNotMatch, AWS_SECRET_ACCESS_KEY is wrong"
        );
        assert!(error(400, "ExpiredToken").is_access_error());
        assert!(error(403, "AllAccessDisabled").is_access_error());
    }

    #[test]
    fn temporary_failure_is_not_a_rejection() {
        assert!(matches!(error(503, "SlowDown"), S3Error::Unavailable(_)));
        assert!(matches!(error(429, "TooManyRequests"), S3Error::Unavailable(_)));
        assert!(matches!(error(400, "EntityTooLarge"), S3Error::Other(_)));
    }
}
