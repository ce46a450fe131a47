//! The parameters of a request, taken strictly.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::DeserializeOwned;

use crate::{Code, Problem, forms};

/// The query of a request. An unknown, double or badly typed parameter is refused by name.
///
/// A field of type `Vec` takes a parameter as often as it comes. `flatten` must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<T>(pub T);

/// No query at all: a parameter is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQuery;

/// Reads a form, `application/x-www-form-urlencoded`, as strictly as a query.
///
/// # Errors
/// 400 `invalid_field`, naming the field.
pub fn parse_form<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    forms::parse(text)
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(forms::parse(request.query_string().as_bytes()).map(Self))
    }
}

impl FromRequest for NoQuery {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(refuse_parameters(request.query_string()))
    }
}

fn refuse_parameters(query: &str) -> Result<NoQuery, Problem> {
    if query.is_empty() {
        return Ok(NoQuery);
    }
    match forms::first_name(query.as_bytes())? {
        Some(name) => Err(Problem::new(Code::InvalidField).field(name, "is unknown")),
        None => Ok(NoQuery),
    }
}
