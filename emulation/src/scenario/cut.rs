use std::path::Path;
use crate::report::Bar;
#[derive(Clone, Debug, clap::Args)]
pub struct CutArgs { #[command(flatten)] pub output: super::Output }
#[derive(serde::Serialize)]
pub struct CutReport { pub passed: bool }
impl CutReport { pub fn bars(&self) -> Vec<Bar> { Vec::new() } pub fn tables(&self) -> String { String::new() } }
pub fn run(_: &CutArgs, _: &Path) -> anyhow::Result<CutReport> { Ok(CutReport{passed:false}) }
