//! HTTP clients and responses.

mod api_response;
mod raw_connection;

pub use api_response::ApiResponse;
pub use raw_connection::{RawConnection, RawResponse};
