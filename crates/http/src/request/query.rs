//! Query parameters.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::DeserializeOwned;

use super::form;
use crate::{Code, Problem};

/// The query of a request. Unknown, repeated and invalid parameters are rejected with a problem
/// that names the parameter.
///
/// A field of type `Vec` collects the values of a repeated parameter. `#[serde(flatten)]` is not
/// supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<T>(pub T);

/// The absence of a query. Any parameter is rejected with a problem that names the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQuery;

/// Parses a form (`application/x-www-form-urlencoded`) with the rules of [`Query`].
///
/// # Errors
/// Returns 400 `invalid_field` with the name of the field.
pub fn parse_form<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    form::parse(text)
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(form::parse(request.query_string().as_bytes()).map(Self))
    }
}

impl FromRequest for NoQuery {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(reject_parameters(request.query_string()))
    }
}

fn reject_parameters(query: &str) -> Result<NoQuery, Problem> {
    if query.is_empty() {
        return Ok(NoQuery);
    }
    match form::first_name(query.as_bytes())? {
        Some(name) => Err(Problem::new(Code::InvalidField)
            .field(name, "is unknown; this route has no parameters")),
        None => Ok(NoQuery),
    }
}
