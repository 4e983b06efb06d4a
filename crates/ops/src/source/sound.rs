//! Decoding of sound files: WAV, FLAC and MP3 to samples of one channel.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use rubato::{
    Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::owned::InterleavedOwned,
};
use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error as DecodingError,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::{MediaSourceStream, ReadOnlySource},
    meta::MetadataOptions,
};
use taktline_core::{Error, Result};

/// The block that resampling transforms at once, in samples of the slower rate: the filter's edge is then at 98.7 % of
/// what that rate can hold.
const BLOCK: usize = 1024;
/// MPEG frames that encoders count differently at both ends of a file, in samples.
const MPEG_SLACK: u64 = 2 * 1152;

/// The beginning of a sound file, as far as it is needed, mixed to one channel.
#[derive(Debug)]
pub(super) struct Sound {
    /// From -1 to 1.
    samples: Vec<f32>,
    /// Samples a second.
    rate: u32,
    /// Samples of the whole file, a channel.
    count: u64,
}

impl Sound {
    /// How long the whole file lasts.
    pub(super) fn seconds(&self) -> f64 {
        self.count as f64 / f64::from(self.rate)
    }

    /// The samples at another rate.
    ///
    /// # Errors
    /// One line that says why it cannot be resampled.
    pub(super) fn resampled(self, rate: u32) -> Result<Vec<f32>, String> {
        if rate == self.rate {
            return Ok(self.samples);
        }
        let mut resampler = Fft::<f32>::new_custom(
            self.rate as usize,
            rate as usize,
            block(self.rate, rate),
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| error.to_string())?;
        let count = self.samples.len();
        let input = InterleavedOwned::new_from(self.samples, 1, count)
            .map_err(|error| error.to_string())?;
        let resampled = resampler
            .process_all(&input, count, None)
            .map_err(|error| error.to_string())?;
        Ok(resampled.take_data())
    }
}

/// Samples of the file that are transformed at once, so that both rates have at least [`BLOCK`]: whole periods of both, and
/// an even number of them, because half a block is the delay that is taken off again.
fn block(from: u32, to: u32) -> usize {
    let ratio = f64::from(from) / f64::from(to);
    let least = (BLOCK as f64 * ratio.max(1.0)).ceil() as usize;
    let period = from / greatest_common_divisor(from, to);
    least.next_multiple_of(2 * period as usize)
}

/// How many samples of the file make `count` samples at the rate `to`: the filter looks less than two blocks ahead.
fn needed(from: u32, to: u32, count: usize) -> usize {
    let ratio = f64::from(from) / f64::from(to);
    (count as f64 * ratio).ceil() as usize + 3 * block(from, to)
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    match other {
        0 => one,
        _ => greatest_common_divisor(other, one % other),
    }
}

/// The file, decoded to its end, with as many samples as `count` at the rate `rate` need.
///
/// # Errors
/// The file cannot be read, is no sound, is damaged or ends early; all name the file.
pub(super) fn decode(path: &Path, rate: u32, count: usize) -> Result<Sound> {
    let mut opened = open(path).map_err(|reason| unreadable(path, &reason))?;
    opened
        .decode(rate, count)
        .map_err(|reason| unreadable(path, &reason))
}

/// The error of a file that is no sound.
pub(super) fn unreadable(path: &Path, reason: &str) -> Error {
    Error::Format {
        path: path.to_owned(),
        message: format!("cannot be read as a sound: {reason}"),
    }
}

/// Why the file is no sound, as far as its header says so.
pub(super) fn header_problem(path: &Path) -> Option<String> {
    open(path).err()
}

struct Opened {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
    /// What the header says, if it does.
    count: Option<u64>,
}

/// Reads the header.
fn open(path: &Path) -> Result<Opened, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let start = end_of_tag(&mut file).map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(start))
        .map_err(|error| error.to_string())?;
    // A stream that cannot seek: the reader of MP3 would else guess the length from the size of the file and cut off what
    // goes beyond.
    let source = ReadOnlySource::new(BufReader::new(file));
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    let format = symphonia::default::get_probe()
        .probe(
            &hint,
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| match error {
            DecodingError::Unsupported(_) | DecodingError::IoError(_) => {
                "neither WAV nor FLAC nor MP3".to_owned()
            }
            other => other.to_string(),
        })?;
    let track = format
        .default_track(TrackType::Audio)
        .ok_or("it holds no sound that can be decoded")?;
    let params = track
        .codec_params
        .as_ref()
        .and_then(|params| params.audio())
        .ok_or("its header does not say how it is coded")?;
    let rate = params
        .sample_rate
        .filter(|rate| *rate > 0)
        .ok_or("its header does not say how many samples a second it has")?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default())
        .map_err(|error| error.to_string())?;
    let (track, count) = (track.id, track.num_frames);
    Ok(Opened {
        format,
        decoder,
        track,
        rate,
        count,
    })
}

/// Where an ID3v2 tag ends that may stand before the sound (ID3 tag version 2.4.0, section 3.1); it may hold pictures, in
/// which a decoder would look for sound.
fn end_of_tag(file: &mut File) -> std::io::Result<u64> {
    let mut header = Vec::with_capacity(10);
    file.by_ref().take(10).read_to_end(&mut header)?;
    let [b'I', b'D', b'3', _, _, flags, size @ ..] = &header[..] else {
        return Ok(0);
    };
    if size.len() != 4 {
        return Ok(0);
    }
    let size = size
        .iter()
        .fold(0_u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    Ok(10 + size + footer)
}

impl Opened {
    fn decode(&mut self, rate: u32, count: usize) -> Result<Sound, String> {
        let needed = match self.rate == rate {
            true => count,
            false => needed(self.rate, rate, count),
        };
        let mut sound = Sound {
            samples: Vec::new(),
            rate: self.rate,
            count: 0,
        };
        let mut interleaved: Vec<f32> = Vec::new();
        loop {
            let at = |error: DecodingError| format!("at {:.3} s: {error}", sound.seconds());
            let Some(packet) = self.format.next_packet().map_err(at)? else {
                break;
            };
            if packet.track_id != self.track {
                continue;
            }
            let decoded = self.decoder.decode(&packet).map_err(at)?;
            if decoded.spec().rate() != self.rate {
                return Err(format!("at {:.3} s: its rate changes", sound.seconds()));
            }
            let channels = decoded.num_planes();
            decoded.copy_to_vec_interleaved(&mut interleaved);
            for frame in interleaved.chunks_exact(channels.max(1)) {
                let sample = frame.iter().sum::<f32>() / channels as f32;
                if !sample.is_finite() {
                    return Err(format!(
                        "at {:.3} s: a sample is not a number",
                        sound.seconds()
                    ));
                }
                if sound.samples.len() < needed {
                    sound.samples.push(sample);
                }
                sound.count += 1;
            }
        }
        if sound.count == 0 {
            return Err("it holds no samples".into());
        }
        let slack = if self.format.format_info().short_name == "mp3" {
            MPEG_SLACK
        } else {
            0
        };
        match self.count {
            Some(told) if sound.count + slack < told => Err(format!(
                "it ends after {:.3} s, but its header says {:.3} s",
                sound.seconds(),
                told as f64 / f64::from(self.rate)
            )),
            _ => Ok(sound),
        }
    }
}

/// Sounds for tests.
#[cfg(test)]
pub(super) mod testing {
    use std::{f64::consts::TAU, path::PathBuf};

    /// The bytes of a WAV file of 16-bit samples, the channels of a moment together.
    pub(in crate::source) fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        wav_of(rate, channels, 1, 16, &data)
    }

    /// The bytes of a WAV file; `coding` is 1 for whole numbers, 3 for real ones.
    pub(in crate::source) fn wav_of(
        rate: u32,
        channels: u16,
        coding: u16,
        bits: u16,
        data: &[u8],
    ) -> Vec<u8> {
        let align = channels * bits / 8;
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + data.len() as u32).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16_u32.to_le_bytes());
        bytes.extend(coding.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * u32::from(align)).to_le_bytes());
        bytes.extend(align.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }

    /// A tone at half of full scale.
    pub(in crate::source) fn tone(rate: u32, hertz: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|index| 0.5 * (TAU * hertz * index as f64 / f64::from(rate)).sin())
            .collect()
    }

    /// The same as 16-bit samples.
    pub(in crate::source) fn samples(tone: &[f64]) -> Vec<i16> {
        tone.iter()
            .map(|value| (value * 32768.0).round() as i16)
            .collect()
    }

    /// A file of `tests/data/sounds`.
    pub(in crate::source) fn data(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/data/sounds")
            .join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{
        testing::{data, samples, tone, wav, wav_of},
        *,
    };

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sound.wav");
        fs::write(&path, bytes).expect("written");
        (directory, path)
    }

    fn refused(bytes: &[u8]) -> String {
        let (_directory, path) = written(bytes);
        let error = decode(&path, 8000, 100).expect_err("refused").to_string();
        assert!(
            error.contains("sound.wav`: cannot be read as a sound: "),
            "{error}"
        );
        error
    }

    #[test]
    fn channels_are_averaged() {
        let (_directory, path) = written(&wav(8000, 2, &[16384, 0, -32768, -16384, 3, 3]));
        let sound = decode(&path, 8000, 100).expect("a sound");
        assert_eq!(sound.samples, [0.25, -0.75, 3.0 / 32768.0]);
        assert_eq!(sound.seconds(), 3.0 / 8000.0);
        // Only what is needed is kept, but the length is that of the file.
        let sound = decode(&path, 8000, 1).expect("a sound");
        assert_eq!((sound.samples.len(), sound.count), (1, 3));
    }

    #[test]
    fn flac_is_read_without_loss_and_mp3_nearly_so() {
        let expected = tone(8000, 440.0, 4000);
        // `gain -6` of sox is 10^(-6/20).
        let scale = 10_f64.powf(-0.3) / 0.5;
        for (name, tolerance) in [("tone.flac", 1e-4), ("tone.mp3", 0.05)] {
            let sound = decode(&data(name), 8000, 4000).expect("a sound");
            assert_eq!((sound.rate, sound.count), (8000, 4000), "{name}");
            // Lossy coding rings at the ends.
            for (found, expected) in sound.samples.iter().zip(&expected).skip(200).take(3600) {
                assert!(
                    (f64::from(*found) - expected * scale).abs() < tolerance,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn resampling_keeps_what_the_new_rate_can_hold() {
        let compare = |from: u32, to: u32, hertz: f64, expected_scale: f64| {
            let (_directory, path) =
                written(&wav(from, 1, &samples(&tone(from, hertz, from as usize))));
            let sound = decode(&path, to, to as usize).expect("a sound");
            let resampled = sound.resampled(to).expect("resampled");
            assert_eq!(resampled.len(), to as usize);
            // Away from the ends, where the tone starts and stops.
            let margin = to as usize / 10;
            let expected = tone(to, hertz, to as usize);
            for (found, expected) in resampled
                .iter()
                .zip(&expected)
                .skip(margin)
                .take(8 * margin)
            {
                let difference = (f64::from(*found) - expected_scale * expected).abs();
                assert!(difference < 1e-3, "{from} to {to}: {difference}");
            }
        };
        compare(44_100, 16_000, 1000.0, 1.0);
        compare(8000, 22_050, 1000.0, 1.0);
        compare(16_000, 8000, 3800.0, 1.0);
        // Above half of the new rate nothing stays: no alias at 6 kHz.
        compare(44_100, 16_000, 10_000.0, 0.0);
    }

    #[test]
    fn the_beginning_does_not_depend_on_how_much_is_kept() {
        let (_directory, path) = written(&wav(44_100, 1, &samples(&tone(44_100, 500.0, 44_100))));
        let whole = decode(&path, 16_000, 16_000).expect("a sound");
        let part = decode(&path, 16_000, 2000).expect("a sound");
        assert!(part.samples.len() < whole.samples.len());
        let whole = whole.resampled(16_000).expect("resampled");
        let part = part.resampled(16_000).expect("resampled");
        assert_eq!(whole[..2000], part[..2000]);
    }

    #[test]
    fn damage_is_named() {
        let whole = wav(8000, 1, &[1; 5000]);
        let error = refused(&whole[..whole.len() - 2000]);
        assert!(error.contains("at 0.500 s"), "{error}");
        assert!(refused(b"no sound at all").ends_with("neither WAV nor FLAC nor MP3"));
        assert!(refused(b"").ends_with("neither WAV nor FLAC nor MP3"));
        assert!(refused(&wav(8000, 1, &[])).ends_with("it holds no samples"));
        let real: Vec<u8> = [0.5_f32, f32::NAN]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert!(
            refused(&wav_of(8000, 1, 3, 32, &real))
                .ends_with("at 0.000 s: a sample is not a number")
        );
        for name in ["tone.flac", "tone.mp3"] {
            let bytes = fs::read(data(name)).expect("there");
            let error = refused(&bytes[..bytes.len() / 3]);
            assert!(error.contains(" s"), "{name}: {error}");
        }
        assert!(decode(&data("none.wav"), 8000, 1).is_err());
    }

    #[test]
    fn the_header_alone_is_checked() {
        let whole = wav(8000, 1, &[1; 5000]);
        let (_directory, path) = written(&whole[..44]);
        assert_eq!(header_problem(&path), None);
        let (_directory, path) = written(&whole[..30]);
        assert!(header_problem(&path).is_some());
    }

    #[test]
    fn a_tag_before_the_sound_is_passed_over() {
        let mut bytes = b"ID3\x04\x00\x00\x00\x00\x01\x05".to_vec();
        // 1 · 128 + 5 bytes that look like the start of MPEG frames.
        bytes.extend([0xff, 0xfb].repeat(67).split_last().expect("bytes").1);
        bytes.extend(wav(8000, 1, &[8192; 10]));
        let (_directory, path) = written(&bytes);
        let sound = decode(&path, 8000, 10).expect("a sound");
        assert_eq!(sound.samples, [0.25; 10]);
    }
}
