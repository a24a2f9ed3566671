//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Documents with undo, redo, and copies of any version.
#[derive(Debug, Parser)]
#[command(after_help = "\
Try it:
  documents write letter \"Dear Ada,\"
  documents write letter \"Dear Ada, thank you for the note.\"
  documents undo letter
  documents redo letter
  documents copy letter postcard --version 1
  documents versions letter")]
pub struct Options {
    /// The directory that the documents are kept in
    #[arg(long, global = true, value_name = "DIR", default_value = "./data/documents")]
    pub data: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes the next version of a document
    Write {
        name: String,
        /// The text; without it, each line of standard input is a version
        text: Option<String>,
    },
    /// Shows a document
    Show { name: String },
    /// Goes back to the version before
    Undo { name: String },
    /// Goes forth again
    Redo { name: String },
    /// Shows all versions, and which one is the present one
    Versions { name: String },
    /// Makes another document of one
    Copy {
        name: String,
        to: String,
        /// Of this version; of the present one if it is left out
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// Writes a draft, which is gone when nobody has looked at it for a week
    Draft { name: String, text: String },
    /// Makes a draft the next version of the document of that name
    Publish { name: String },
    /// Lists documents and drafts
    List,
}
