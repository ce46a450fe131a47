//! Requests from web pages and browsers.

mod cors;
mod origins;
mod pages;
