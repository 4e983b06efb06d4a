//! `takt init`

use std::{borrow::Cow, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::{
    args::{InitArguments, Template},
    exit,
    output::{BAD, Output, styled},
};

struct File {
    path: &'static str,
    content: &'static str,
}

const TABLE: &[File] = &[
    File {
        path: "pipelines/classify.yaml",
        content: include_str!("../templates/classify.yaml"),
    },
    File {
        path: "data/tumours.csv",
        content: include_str!("../../../datasets/medical/wdbc.csv"),
    },
    File {
        path: ".gitignore",
        content: ".taktline/\n",
    },
];

const IMAGES: &[File] = &[
    File {
        path: "pipelines/inspect.yaml",
        content: include_str!("../templates/inspect.yaml"),
    },
    File {
        path: ".gitignore",
        content: ".taktline/\n",
    },
];

const FRAUD: &[File] = &[
    File {
        path: "pipelines/fraud.yaml",
        content: include_str!("../templates/fraud.yaml"),
    },
    File {
        path: ".gitignore",
        content: ".taktline/\n",
    },
];

/// The result for scripts: what was made.
#[derive(Serialize)]
struct Made<'a> {
    status: &'static str,
    project: &'a str,
    pipeline: &'static str,
    /// Files and folders in the project.
    files: Vec<String>,
}

/// The result for scripts: why nothing was made.
#[derive(Serialize)]
struct Refusal<'a> {
    status: &'static str,
    error: &'a str,
}

fn refuse(error: &str, output: &mut Output) -> anyhow::Result<u8> {
    output.note(format!("{}: {error}", styled(BAD, "error")));
    if output.is_json() {
        output.json(&Refusal {
            status: "failed",
            error,
        })?;
    }
    Ok(exit::USAGE)
}

pub(crate) fn init(arguments: &InitArguments, output: &mut Output) -> anyhow::Result<u8> {
    let folder = Path::new(&arguments.name);
    if arguments.name.trim().is_empty() {
        return refuse("a project needs a name", output);
    }
    if folder.exists() {
        let error = format!("`{}` exists already; nothing was changed", arguments.name);
        return refuse(&error, output);
    }
    let (files, pipeline) = match arguments.template {
        Template::Table => (TABLE, "pipelines/classify.yaml"),
        Template::Images => (IMAGES, "pipelines/inspect.yaml"),
        Template::Fraud => (FRAUD, "pipelines/fraud.yaml"),
    };
    for file in files {
        let path = folder.join(file.path);
        taktline_engine::write_atomically(&path, file.content.as_bytes())
            .with_context(|| format!("the project `{}` was not made whole", arguments.name))?;
    }
    if arguments.template == Template::Images {
        sample_images(folder)?;
    }
    if output.is_json() {
        let mut paths: Vec<String> = files.iter().map(|file| file.path.to_owned()).collect();
        if arguments.template == Template::Images {
            paths.push(IMAGES_FOLDER.to_owned());
        }
        output.json(&Made {
            status: "finished",
            project: &arguments.name,
            pipeline,
            files: paths,
        })?;
        return Ok(exit::OK);
    }
    let name = in_shell(&arguments.name);
    output.line(format!("made {} with {pipeline}", arguments.name))?;
    output.line(format!("next: takt -C {name} check {pipeline}"))?;
    output.line(format!("then: takt -C {name} run {pipeline}"))?;
    Ok(exit::OK)
}

/// The word as a shell takes it: quoted where it is not plain.
fn in_shell(word: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./+@:".contains(letter);
    if word.chars().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Where the template's pictures are.
const IMAGES_FOLDER: &str = "data";

/// Forty small grey pictures for each of two classes, so that the pipeline runs at once: a woven texture, with a bright
/// scratch across it on the second class. Yours go in their place.
fn sample_images(folder: &Path) -> anyhow::Result<()> {
    const SIDE: u32 = 32;
    let mut noise = Noise(1);
    for (class, scratched) in [("good", false), ("scratched", true)] {
        for number in 0..40 {
            let (phase, slope, start) = (noise.below(8), noise.below(5), 6 + noise.below(20));
            let picture = image::GrayImage::from_fn(SIDE, SIDE, |column, row| {
                let weave = if (column + phase) / 2 % 2 == row / 2 % 2 {
                    96
                } else {
                    72
                };
                let on_scratch =
                    scratched && (start + row * slope / 4).abs_diff(column + row / 2) <= 1;
                let value = if on_scratch { 200 } else { weave } + noise.below(24);
                image::Luma([u8::try_from(value).unwrap_or(u8::MAX)])
            });
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Png)?;
            let path = folder
                .join(IMAGES_FOLDER)
                .join(class)
                .join(format!("{number:02}.png"));
            taktline_engine::write_atomically(&path, bytes.get_ref())?;
        }
    }
    Ok(())
}

/// A small linear congruential generator (Knuth's MMIX constants): the same pictures everywhere.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(in_shell("größe-1"), "größe-1");
        assert_eq!(in_shell("my project"), "'my project'");
        assert_eq!(in_shell("it's"), r"'it'\''s'");
    }
}
