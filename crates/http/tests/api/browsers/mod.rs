//! Requests of web pages and browsers.

mod cors;
mod origins;
mod pages;
