//! Page visits, hosts and the rising pages.

mod chartbeat;
mod hosts;
mod visits;
