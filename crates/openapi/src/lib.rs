//! What both APIs answer, as one OpenAPI document.
