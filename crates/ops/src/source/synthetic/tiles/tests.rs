use super::*;
use crate::{
    columns::testing::{check, stage},
    source::synthetic::testing::{deviation, generate, mean, texts},
};
use taktline_core::Schema;

fn drawn(params: &str, tiles: u64) -> Vec<(Option<Defect>, Vec<f64>)> {
    let tiles_of: Tiles = stage(params);
    (0..tiles)
        .map(|number| {
            let (defect, pixels) = tiles_of.tile(1, number);
            (defect, pixels.into_iter().map(f64::from).collect())
        })
        .collect()
}

/// How a tile with that defect differs from the same tile without.
fn differences(defect: &str, tiles: u64) -> Vec<Vec<f64>> {
    let with = drawn(
        &format!("{{rows: 1, defective: 1.0, defects: [{defect}]}}"),
        tiles,
    );
    let without = drawn("{rows: 1, defective: 0.0}", tiles);
    with.into_iter()
        .zip(without)
        .map(|((found, one), (none, other))| {
            assert_eq!(found.map(Defect::label), Some(defect));
            assert_eq!(none, None);
            one.iter()
                .zip(other)
                .map(|(one, other)| one - other)
                .collect()
        })
        .collect()
}

#[test]
fn classes_have_the_shares_that_were_asked_for() {
    let rows = generate::<Tiles>(
        "{rows: 4000, size: 16, defective: 0.4, defects: [crack, spot], seed: 1}",
    );
    let labels = texts(&rows, "label");
    for (label, share) in [("good", 0.6), ("spot", 0.2), ("crack", 0.2)] {
        let found = labels.iter().filter(|found| *found == label).count() as f64 / 4000.0;
        // Four standard errors.
        assert!(
            (found - share).abs() < 4.0 * (share * (1.0 - share) / 4000.0_f64).sqrt(),
            "{label}: {found}"
        );
    }
    let known = stage::<Tiles>("{rows: 1, defects: [crack, spot]}").columns();
    assert_eq!(
        known[2].categories.as_deref(),
        Some(&["good", "spot", "crack"].map(str::to_owned)[..])
    );
}

#[test]
fn every_defect_is_a_part_of_its_tile_and_can_be_seen() {
    // The share of pixels that it changes, and how strongly at its strongest.
    for (defect, area, depth) in [
        ("scratch", 0.01..0.12, 25.0),
        ("spot", 0.003..0.05, 35.0),
        ("dent", 0.02..0.30, 30.0),
        ("stain", 0.03..0.40, 12.0),
        ("crack", 0.008..0.15, 30.0),
    ] {
        let tiles = differences(defect, 60);
        let changed: Vec<f64> = tiles
            .iter()
            .map(|tile| {
                let strong = tile.iter().filter(|change| change.abs() > 6.0).count();
                strong as f64 / tile.len() as f64
            })
            .collect();
        assert!(
            area.contains(&mean(&changed)),
            "{defect}: {}",
            mean(&changed)
        );
        let strongest: Vec<f64> = tiles
            .iter()
            .map(|tile| {
                tile.iter()
                    .fold(0.0_f64, |most, change| most.max(change.abs()))
            })
            .collect();
        assert!(mean(&strongest) > depth, "{defect}: {}", mean(&strongest));
    }
}

#[test]
fn dents_are_shaded_and_stains_are_dark() {
    for tile in differences("dent", 30) {
        let bright: f64 = tile.iter().filter(|change| **change > 0.0).sum();
        let dark: f64 = tile.iter().filter(|change| **change < 0.0).sum();
        // As much light as shadow, but for what lies over the edge.
        assert!(
            (bright + dark).abs() < 0.5 * (bright - dark),
            "{bright} and {dark}"
        );
    }
    for tile in differences("stain", 30) {
        assert!(tile.iter().all(|change| *change <= 0.0));
    }
}

#[test]
fn brightness_does_not_tell_the_class() {
    for texture in ["brushed", "grain", "woven"] {
        let tiles = drawn(&format!("{{rows: 1, texture: {texture}}}"), 400);
        let (bad, good): (Vec<_>, Vec<_>) = tiles.iter().partition(|(defect, _)| defect.is_some());
        let means = |tiles: &[&(Option<Defect>, Vec<f64>)]| -> Vec<f64> {
            tiles.iter().map(|(_, pixels)| mean(pixels)).collect()
        };
        let (bad, good) = (means(&bad), means(&good));
        assert!(
            (mean(&bad) - mean(&good)).abs() < 0.5 * deviation(&good),
            "{texture}"
        );
        // Tiles differ from each other, and so do the pixels of one.
        assert!(deviation(&good) > 8.0, "{texture}");
        let inside: Vec<f64> = tiles.iter().map(|(_, pixels)| deviation(pixels)).collect();
        assert!(
            (6.0..30.0).contains(&mean(&inside)),
            "{texture}: {}",
            mean(&inside)
        );
    }
}

#[test]
fn contrast_says_how_well_defects_are_seen() {
    let strongest = |contrast: f64| {
        let of = |defective: f64| {
            drawn(
                &format!(
                    "{{rows: 1, defective: {defective}, defects: [spot], contrast: {contrast}}}"
                ),
                20,
            )
        };
        let changes: Vec<f64> = of(1.0)
            .iter()
            .zip(of(0.0))
            .map(|((_, one), (_, other))| {
                one.iter()
                    .zip(other)
                    .fold(0.0_f64, |most, (one, other)| most.max((one - other).abs()))
            })
            .collect();
        mean(&changes)
    };
    let (full, half, none) = (strongest(1.0), strongest(0.5), strongest(0.0));
    assert_eq!(none, 0.0);
    assert!((half / full - 0.5).abs() < 0.05, "{half} of {full}");
}

#[test]
fn the_same_seed_gives_the_same_tiles() {
    let first = generate::<Tiles>("{rows: 20, size: 24, seed: 9}");
    assert!(first.equals(&generate::<Tiles>("{rows: 20, size: 24, seed: 9}")));
    assert!(!first.equals(&generate::<Tiles>("{rows: 20, size: 24, seed: 10}")));
    assert!(
        first
            .head(Some(5))
            .equals(&generate::<Tiles>("{rows: 5, size: 24, seed: 9}"))
    );
    assert_eq!(
        generate::<Tiles>("{rows: 1, size: 16, defective: 1.0}").height(),
        1
    );
}

#[test]
fn a_defect_is_named_once() {
    let (_, problems) = check(
        &stage::<Tiles>("{rows: 1, defects: [spot, dent, spot]}"),
        &Schema::default(),
    );
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].code, problems[0].path.clone()),
        ("duplicate-name", path!["defects", 2])
    );
}
