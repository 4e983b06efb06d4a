//! Data for tests: small tables from `tests/data`, and files that only a program can make.

use std::{fs, path::Path};

use crate::harness::{Project, repository};

/// Copies a folder of the repository into the project.
pub(crate) fn copy(project: &Project, from: &str, to: &str) {
    fn visit(project: &Project, from: &Path, to: &str) {
        for entry in fs::read_dir(from).expect("a folder").flatten() {
            let name = format!("{to}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                visit(project, &entry.path(), &name);
            } else {
                project.write(&name, fs::read(entry.path()).expect("a file"));
            }
        }
    }
    visit(project, &repository().join(from), to);
}

/// A small generator of the SplitMix64 family (Steele, Lea and Flood 2014): the same data everywhere.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// An IDX file of bytes: its dimensions, then the bytes.
pub(crate) fn idx(dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![
        0,
        0,
        8,
        u8::try_from(dimensions.len()).expect("few dimensions"),
    ];
    file.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
    file.extend_from_slice(bytes);
    file
}

/// Images of three classes, six in all, 8×8: enough to check a network against.
pub(crate) fn write_few_images(project: &Project) {
    let pixels: Vec<u8> = (0..6 * 8 * 8).map(|index| (index % 251) as u8).collect();
    let images = idx(&[6, 8, 8], &pixels);
    project.write("data/images.idx", &images);
    project.write("data/truncated-images.idx", &images[..images.len() - 100]);
    project.write("data/labels.idx", idx(&[6], &[0, 1, 2, 0, 1, 2]));
    project.write("data/too-few-labels.idx", idx(&[5], &[0, 1, 2, 0, 1]));
}

/// The segments of a seven-segment display that each digit lights: top, upper left, upper right, middle, lower left,
/// lower right, bottom.
const SEGMENTS: [[bool; 7]; 10] = {
    const fn lit(digits: &str) -> [bool; 7] {
        let bytes = digits.as_bytes();
        let mut segments = [false; 7];
        let mut index = 0;
        while index < 7 {
            segments[index] = bytes[index] == b'1';
            index += 1;
        }
        segments
    }
    [
        lit("1110111"),
        lit("0010010"),
        lit("1011101"),
        lit("1011011"),
        lit("0111010"),
        lit("1101011"),
        lit("1101111"),
        lit("1010010"),
        lit("1111111"),
        lit("1111011"),
    ]
};

/// Writes `data/images.idx` and `data/labels.idx`: seven-segment digits, 28×28, shifted and noisy, every class as often.
pub(crate) fn write_digits(project: &Project, count: u32) {
    const SIDE: u64 = 28;
    let mut noise = Noise(1);
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for number in 0..count {
        let digit = (number % 10) as usize;
        let (left, top) = (6 + noise.below(6), 3 + noise.below(4));
        // Column, row, width and height of each segment's bar.
        let bars = [
            (0, 0, 10, 2),
            (0, 0, 2, 10),
            (8, 0, 2, 10),
            (0, 9, 10, 2),
            (0, 10, 2, 10),
            (8, 10, 2, 10),
            (0, 18, 10, 2),
        ];
        for row in 0..SIDE {
            for column in 0..SIDE {
                let inside = |bar: &(u64, u64, u64, u64)| {
                    (left + bar.0..left + bar.0 + bar.2).contains(&column)
                        && (top + bar.1..top + bar.1 + bar.3).contains(&row)
                };
                let lit = bars
                    .iter()
                    .zip(SEGMENTS[digit])
                    .any(|(bar, is_lit)| is_lit && inside(bar));
                let base = if lit { 180 } else { 0 };
                pixels.push((base + noise.below(70)) as u8);
            }
        }
        labels.push(digit as u8);
    }
    project.write(
        "data/images.idx",
        idx(&[count, SIDE as u32, SIDE as u32], &pixels),
    );
    project.write("data/labels.idx", idx(&[count], &labels));
}

/// A CSV whose first 12,000 rows are in order, and whose next is not.
pub(crate) fn csv_with_late_row(row: &str) -> String {
    let mut text = String::from("part_id,width\n");
    for number in 1..=12_000 {
        text.push_str(&format!("{number},{}.5\n", number % 90));
    }
    text.push_str(row);
    text.push_str("\n12002,3.5\n");
    text
}
