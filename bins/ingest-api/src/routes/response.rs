//! The response to an accepted message.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};

use crate::messages::AcceptedMessage;

/// Returns a response with the message and its `Location`.
pub fn message_response(
    status: StatusCode,
    location: String,
    accepted: &AcceptedMessage,
) -> HttpResponse {
    let mut response = HttpResponse::build(status)
        .content_type("application/json")
        .insert_header((LOCATION, location))
        .body(accepted.json.clone());
    accepted.response.write_headers(response.headers_mut());
    response
}
