//! What can go wrong with S3, by what an operator can do about it.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// A call to S3 that did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There is nothing to sign with: the text says which name is missing.
    #[error("{0}")]
    NoCredentials(String),
    /// S3 refuses who is asking, or what: trying again helps only when keys or rights change.
    #[error("S3 refused: {0}")]
    Refused(String),
    /// S3 cannot be reached, or is not well: try again later.
    #[error("S3 is not reachable: {0}")]
    Unreachable(String),
    /// S3 was asked and has not answered in time: it may still do what it was asked.
    #[error("S3 is not reachable: {0}")]
    Unanswered(String),
    /// S3 answered something else.
    #[error("S3 failed: {0}")]
    Other(String),
}

impl S3Error {
    /// Whether nothing can be done with the credentials as they are.
    #[must_use]
    pub fn is_about_rights(&self) -> bool {
        matches!(self, Self::NoCredentials(_) | Self::Refused(_))
    }
}

/// What became of a request, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be asked, or hung up.
    NoAnswer(String),
    /// There was no answer in time.
    Late(String),
    /// S3 said no: the status and the code of its answer; `status 403` where it gave none.
    Answer { status: u16, code: String },
    /// The request could not be made.
    Unsent(String),
}

impl Failure {
    pub(crate) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().map(str::to_owned);
                Self::Answer { status, code: code.unwrap_or_else(|| format!("status {status}")) }
            }
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                Self::Answer { status, code: format!("status {status}") }
            }
            SdkError::ConstructionFailure(_) => Self::Unsent(chain(error)),
            SdkError::TimeoutError(_) => Self::Late(chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Late(chain(error)),
            _ => Self::NoAnswer(chain(error)),
        }
    }

    pub(crate) fn is_code(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Answer { code, .. } if codes.contains(&code.as_str()))
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoAnswer(why) => Self::Unreachable(why),
            Failure::Late(why) => Self::Unanswered(why),
            Failure::Unsent(why) => Self::Other(why),
            Failure::Answer { status, code } => match (explain(&code), status) {
                (Some(why), _) => Self::Refused(format!("{code}, {why}")),
                (None, 401 | 403) => Self::Refused(code),
                (None, 429 | 500..) => Self::Unreachable(code),
                (None, _) => Self::Other(code),
            },
        }
    }
}

/// What an operator has to look at, for codes that say so.
fn explain(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidAccessKeyId" | "NotSignedUp" => "AWS_ACCESS_KEY_ID is not known there",
        "SignatureDoesNotMatch" => "AWS_SECRET_ACCESS_KEY is wrong",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "AWS_SESSION_TOKEN is wrong or has expired"
        }
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "AuthorizationQueryParametersError" => "AWS_REGION is wrong",
        "RequestTimeTooSkewed" => "the clock of this machine is wrong",
        "AccessDenied" => "a right is missing",
        _ => return None,
    })
}

/// An error and what it came from, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
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

    fn answer(status: u16, code: &str) -> S3Error {
        Failure::Answer { status, code: code.to_owned() }.into()
    }

    #[test]
    fn a_refusal_says_what_to_look_at() {
        let wrong = answer(403, "SignatureDoesNotMatch");
        assert!(wrong.is_about_rights());
        assert_eq!(
            wrong.to_string(),
            "S3 refused: SignatureDoesNotMatch, AWS_SECRET_ACCESS_KEY is wrong"
        );
        assert!(answer(400, "ExpiredToken").is_about_rights());
        assert!(answer(403, "AllAccessDisabled").is_about_rights());
    }

    #[test]
    fn an_s3_that_is_not_well_is_no_refusal() {
        assert!(matches!(answer(503, "SlowDown"), S3Error::Unreachable(_)));
        assert!(matches!(answer(429, "TooManyRequests"), S3Error::Unreachable(_)));
        assert!(matches!(answer(400, "EntityTooLarge"), S3Error::Other(_)));
    }
}
