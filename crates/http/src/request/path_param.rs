//! The parameter in a path.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Path};
use percent_encoding::percent_decode_str;

use crate::{Code, Problem};

/// The only parameter in the path of a route, decoded. Invalid UTF-8 is rejected, because the
/// router would replace it with U+FFFD, and the request would address a different resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathParam(pub String);

impl FromRequest for PathParam {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let name = request.match_info().iter().next().map_or("", |(name, _)| name).to_owned();
        if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
            return ready(Err(
                Problem::new(Code::InvalidField).field(name, "must be percent-encoded UTF-8")
            ));
        }
        let value = Path::<String>::from_request(request, payload).into_inner();
        ready(value.map(|value| Self(value.into_inner())).map_err(|error| {
            Problem::new(Code::InvalidField)
                .field(name, "must be percent-encoded UTF-8")
                .caused_by(error)
        }))
    }
}
