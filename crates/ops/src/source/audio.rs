//! `source.audio`.

use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom,
    ReshapeDimension, Series,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Problem, Result, Role, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use super::{
    listing::{Layout, ListedFile, Listing, What},
    sound,
};

/// Read sounds, each of the same length and rate, mixed to one channel.
///
/// WAV, FLAC and MP3. The files lie in folders of classes (`layout: classes`: the folders' names are the labels), in one
/// folder (`layout: flat`), or are listed in a table with a column of paths, whose other columns stay. Gives a file column,
/// a label column (from folders), a sound column (an array of `rate` × `seconds` samples from -1 to 1, `f32`) and the
/// duration of the whole file in seconds. Channels are averaged. A damaged file fails the run and is named; nothing of it
/// is guessed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Audio {
    /// The directory with the class folders or files. With `table`, the directory that its paths start from; default: the
    /// table's own.
    #[schemars(length(min = 1))]
    path: Option<String>,
    /// A CSV, Parquet, NDJSON or Arrow IPC file with a row for each sound, instead of folders.
    #[schemars(length(min = 1))]
    table: Option<String>,
    /// How the files lie in `path`; default: `classes`.
    layout: Option<Layout>,
    /// Samples a second that every sound gets: 16000 is usual for speech, 22050 for music. Files of another rate are
    /// resampled, with a filter against aliasing.
    #[schemars(range(min = 1000, max = 384_000))]
    rate: u32,
    /// The seconds that every sound gets.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 3600))]
    seconds: f64,
    /// What becomes of a sound of another length.
    #[serde(default)]
    length: Length,
    /// The name of the column with the file's path; of the table's column with the paths, where there is one.
    #[serde(default = "file_column")]
    #[schemars(length(min = 1))]
    file_column: String,
    /// The name of the label column; default: `label`.
    #[schemars(length(min = 1))]
    label_column: Option<String>,
    /// The name of the sound column.
    #[serde(default = "sound_column")]
    #[schemars(length(min = 1))]
    sound_column: String,
    /// The name of the column with the file's length in seconds.
    #[serde(default = "duration_column")]
    #[schemars(length(min = 1))]
    duration_column: String,
    /// The extensions of sound files; others are passed over.
    #[serde(default = "extensions")]
    #[schemars(length(min = 1))]
    extensions: Vec<Extension>,
}

/// What becomes of a sound of another length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Length {
    /// A longer one loses its end, a shorter one gets silence (zeros) at its end.
    #[default]
    Fit,
    /// It fails the run, naming the file.
    Error,
}

/// The extension of a sound file, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Extension {
    /// Waveform Audio File Format.
    Wav,
    /// Free Lossless Audio Codec.
    Flac,
    /// MPEG layer III.
    Mp3,
}

impl Extension {
    fn text(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
        }
    }
}

fn file_column() -> String {
    "file".into()
}

fn sound_column() -> String {
    "sound".into()
}

fn duration_column() -> String {
    "duration".into()
}

fn extensions() -> Vec<Extension> {
    vec![Extension::Wav, Extension::Flac, Extension::Mp3]
}

register_kind! {
    Audio, "source.audio", version: 1,
    example: "- source.audio: {path: data/words, rate: 16000, seconds: 1}",
}

impl Audio {
    fn listing(&self) -> Listing<'_> {
        Listing {
            what: What {
                one: "sound",
                many: "sounds",
                unreadable: "unreadable-sound",
            },
            path: self.path.as_deref(),
            table: self.table.as_deref(),
            layout: self.layout,
            file_column: ("file_column", &self.file_column),
            label_column: self.label_column.as_deref(),
            extensions: self
                .extensions
                .iter()
                .map(|extension| extension.text())
                .collect(),
        }
    }

    /// How many samples a sound has.
    fn samples(&self) -> usize {
        (f64::from(self.rate) * self.seconds).round() as usize
    }

    /// Writes the file's samples into `row`, which holds zeros; answers how long the file is, in seconds.
    fn read(&self, file: &ListedFile, row: &mut [f32]) -> Result<f64> {
        let sound = sound::decode(&file.path, self.rate, row.len())?;
        let seconds = sound.seconds();
        let whole = (seconds * f64::from(self.rate)).round() as usize;
        // Resampling may round by a sample.
        if self.length == Length::Error && whole.abs_diff(row.len()) > 1 {
            return Err(Error::Format {
                path: file.path.clone(),
                message: format!(
                    "lasts {seconds} s, not {} s; `length: fit` would cut it or add silence",
                    self.seconds
                ),
            });
        }
        let samples = sound
            .resampled(self.rate)
            .map_err(|reason| sound::unreadable(&file.path, &reason))?;
        let kept = samples.len().min(row.len());
        row[..kept].copy_from_slice(&samples[..kept]);
        Ok(seconds)
    }

    fn columns(&self, files: &[ListedFile]) -> Result<(PolarsColumn, PolarsColumn)> {
        let width = self.samples();
        let count = files.len() * width;
        let mut samples: Vec<f32> = Vec::new();
        samples.try_reserve_exact(count).map_err(|_| {
            Error::data(format!(
                "{} sounds of {width} samples do not fit into memory; take fewer files, fewer seconds or a lower rate",
                files.len()
            ))
        })?;
        samples.resize(count, 0.0);
        // Every file has its own place in the column: no second copy, and the same rows however many threads decode.
        let durations: Vec<Result<f64>> = samples
            .par_chunks_mut(width)
            .zip(files)
            .map(|(row, file)| self.read(file, row))
            .collect();
        let durations: Vec<f64> = durations.into_iter().collect::<Result<_>>()?;
        let dimensions = [files.len(), width].map(|size| ReshapeDimension::new(size as i64));
        let sounds = Series::new(self.sound_column.as_str().into(), samples)
            .reshape_array(&dimensions)?
            .into_column();
        let durations = Series::new(self.duration_column.as_str().into(), durations).into_column();
        Ok((sounds, durations))
    }
}

impl Stage for Audio {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let listing = self.listing();
        let made = [
            ("sound_column", self.sound_column.as_str()),
            ("duration_column", self.duration_column.as_str()),
        ];
        let mut listed = listing.check(&made, cx);
        listing.check_headers(&listed.files, sound::header_problem, cx);
        let width = self.samples();
        if width == 0 {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["seconds"],
                    format!(
                        "{} s at {} samples a second are no sample at all",
                        self.seconds, self.rate
                    ),
                )
                .label("too short"),
            );
        }
        if self.table.is_none() {
            listed.columns[0].role = Role::Id;
        }
        let sound = DataType::Array(Box::new(DataType::Float32), width);
        listed.columns.push(Column::new(&self.sound_column, sound));
        listed
            .columns
            .push(Column::new(&self.duration_column, DataType::Float64));
        Schema {
            incomplete: listed.incomplete,
            ..Schema::new(listed.columns)
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Audio {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        let mut listed = self.listing().read(cx)?;
        let (sounds, durations) = self.columns(&listed.files)?;
        listed.columns.push(sounds);
        listed.columns.push(durations);
        Ok(DataFrame::new(listed.files.len(), listed.columns)?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        self.listing().fingerprint(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use polars::prelude::DataFrame;

    use super::{
        super::sound::testing::{data, samples, tone, wav},
        *,
    };
    use crate::{
        columns::testing::{check, stage},
        testing::run,
    };

    /// Two words, one of them twice, of different lengths and rates.
    fn words() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for word in ["no", "yes"] {
            fs::create_dir(directory.path().join(word)).expect("a folder");
        }
        let write = |name: &str, bytes: &[u8]| {
            fs::write(directory.path().join(name), bytes).expect("written");
        };
        write("yes/b.wav", &wav(8000, 1, &[16384; 4000]));
        write("yes/a.WAV", &wav(8000, 2, &[16384; 32_000]));
        write(
            "no/1.wav",
            &wav(16_000, 1, &samples(&tone(16_000, 500.0, 16_000))),
        );
        write("no/notes.txt", b"no sound");
        directory
    }

    fn read(directory: &tempfile::TempDir, params: &str) -> Result<DataFrame, String> {
        let pipeline =
            format!("pipeline: words\nstages:\n  - source.audio: {{rate: 8000, {params}}}\n");
        run(&pipeline, directory.path())
    }

    fn numbers(frame: &DataFrame) -> Vec<f32> {
        let sounds = frame.column("sound").expect("there");
        let leaf = sounds.as_materialized_series().get_leaf_array();
        leaf.f32().expect("numbers").into_no_null_iter().collect()
    }

    fn column<'f>(frame: &'f DataFrame, name: &str) -> Vec<&'f str> {
        let texts = frame.column(name).expect("there").str().expect("text");
        texts.iter().flatten().collect()
    }

    #[test]
    fn folders_are_classes_and_every_sound_gets_the_same_length() {
        let directory = words();
        let frame = read(&directory, "path: ., seconds: 1").expect("reads");
        assert_eq!(
            frame.get_column_names(),
            ["file", "label", "sound", "duration"]
        );
        assert_eq!(
            column(&frame, "file"),
            ["no/1.wav", "yes/a.WAV", "yes/b.wav"]
        );
        assert_eq!(column(&frame, "label"), ["no", "yes", "yes"]);
        let durations = frame
            .column("duration")
            .expect("there")
            .f64()
            .expect("numbers");
        assert_eq!(durations.to_vec(), [Some(1.0), Some(2.0), Some(0.5)]);
        let numbers = numbers(&frame);
        assert_eq!(numbers.len(), 3 * 8000);
        let expected = tone(8000, 500.0, 8000);
        for place in 1000..7000 {
            assert!((f64::from(numbers[place]) - expected[place]).abs() < 1e-3);
        }
        // Cut, and filled up with silence.
        assert!(numbers[8000..20_000].iter().all(|sample| *sample == 0.5));
        assert!(numbers[20_000..].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn other_lengths_can_be_refused() {
        let directory = words();
        let error =
            read(&directory, "path: ., seconds: 1, length: error").expect_err("other lengths");
        assert!(error.contains("a.WAV`: lasts 2 s, not 1 s"), "{error}");
        let frame = read(
            &directory,
            "path: no, layout: flat, seconds: 1, length: error",
        )
        .expect("reads");
        assert_eq!(frame.get_column_names(), ["file", "sound", "duration"]);
    }

    #[test]
    fn a_table_lists_sounds_of_all_formats() {
        let directory = words();
        for name in ["tone.flac", "tone.mp3"] {
            fs::copy(data(name), directory.path().join(name)).expect("copied");
        }
        let table = "file,pitch\ntone.mp3,440\nyes/b.wav,0\ntone.flac,440\n";
        fs::write(directory.path().join("tones.csv"), table).expect("written");
        let frame = read(&directory, "table: tones.csv, seconds: 0.25").expect("reads");
        assert_eq!(
            frame.get_column_names(),
            ["file", "pitch", "sound", "duration"]
        );
        let durations = frame
            .column("duration")
            .expect("there")
            .f64()
            .expect("numbers");
        assert_eq!(durations.to_vec(), [Some(0.5), Some(0.5), Some(0.5)]);
        assert!(
            numbers(&frame)[2000..4000]
                .iter()
                .all(|sample| *sample == 0.5)
        );
    }

    #[test]
    fn a_damaged_file_is_named_by_the_check_or_the_run() {
        let directory = words();
        let whole = wav(8000, 1, &[1; 4000]);
        fs::write(
            directory.path().join("yes/cut.wav"),
            &whole[..whole.len() - 3000],
        )
        .expect("written");
        let error = read(&directory, "path: ., seconds: 1").expect_err("cut short");
        assert!(
            error.contains("cut.wav`: cannot be read as a sound: at 0.312 s"),
            "{error}"
        );
        fs::write(directory.path().join("yes/cut.wav"), "RIFF").expect("written");
        let error = read(&directory, "path: ., seconds: 1").expect_err("no sound");
        assert_eq!(
            error,
            "unreadable-sound: `yes/cut.wav` is no readable sound: neither WAV nor FLAC nor MP3"
        );
    }

    #[test]
    fn names_and_lengths_are_checked() {
        let audio: Audio = stage(
            "{path: no/such/place, rate: 1000, seconds: 0.0001, sound_column: label, duration_column: file}",
        );
        let codes: Vec<&str> = check(&audio, &Schema::default())
            .1
            .iter()
            .map(|problem| problem.code)
            .collect();
        assert_eq!(
            codes,
            ["name-taken", "name-taken", "missing-file", "out-of-range"]
        );
        let audio: Audio = stage("{rate: 8000, seconds: 1}");
        assert_eq!(check(&audio, &Schema::default()).1[0].code, "missing-path");
    }
}
