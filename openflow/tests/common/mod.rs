//! What several tests use.

#![allow(unused_imports)] // each test crate uses its own part

#[allow(dead_code)]
pub(crate) mod any;
pub(crate) mod samples;

pub(crate) use samples::*;
