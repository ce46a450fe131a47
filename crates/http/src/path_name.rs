//! The name in a path, taken strictly.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Path};
use percent_encoding::percent_decode_str;

use crate::{Code, Problem};

/// The one name in the path of a route, decoded. What is no UTF-8 is refused by the name's own name; the router would
/// make U+FFFD of it, which is another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathName(pub String);

impl FromRequest for PathName {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let field = request.match_info().iter().next().map_or("", |(field, _)| field).to_owned();
        if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
            return ready(Err(Problem::new(Code::InvalidField).field(field, "must be UTF-8")));
        }
        let name = Path::<String>::from_request(request, payload).into_inner();
        ready(name.map(|name| Self(name.into_inner())).map_err(|error| {
            Problem::new(Code::InvalidField).field(field, "cannot be read").caused_by(error)
        }))
    }
}
