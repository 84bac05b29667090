//! One run in a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::suite::Case;
use crate::report::Report;
use crate::result_line::ResultLine;

/// Something that takes the flags of a load and prints a line for machines.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the tables.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl Program {
    /// Runs `case` and returns what it reported; its files go to `folder`.
    pub fn run(&self, case: &Case, folder: &Path, cores: &[usize]) -> Result<Vec<Report>> {
        let json = folder.join(format!("{}-{}.json", self.name, case.file_name()));
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        // Never take the file of an earlier comparison for this one's.
        if json.exists() {
            fs::remove_file(&json).with_context(|| format!("cannot replace {}", json.display()))?;
        }
        let output = Command::new(&self.path)
            .args(&case.flags)
            .args(case.cores(cores))
            .arg("--json")
            .arg(&json)
            .arg("--hgrm")
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        check(&output)?;
        let file = File::open(&json).with_context(|| format!("it left no {}", json.display()))?;
        serde_json::from_reader(file).with_context(|| format!("{} is no list of reports", json.display()))
    }
}

/// The program ended well and printed lines that can be read.
fn check(output: &Output) -> Result<()> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, said.trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("RESULT")).collect();
    ensure!(!lines.is_empty(), "it printed no RESULT line");
    for line in lines {
        line.parse::<ResultLine>()?;
    }
    Ok(())
}
