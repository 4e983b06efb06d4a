//! Pictures as pixels, for documents and mails that take no SVG.

use std::sync::{Arc, LazyLock};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{FontResolver, Options, Tree, fontdb::Database},
};
use taktline_core::{Error, Plot, Result};

/// Pixels for each unit of the SVG: sharp on paper too.
const SCALE: f32 = 2.0;
/// The family that stands in for any other.
const FAMILY: &str = "Roboto";

/// What comes with taktline, so that the same picture is the same everywhere.
static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(include_bytes!("fonts/Roboto-Regular.ttf").to_vec());
    fonts.load_font_data(include_bytes!("fonts/Roboto-Bold.ttf").to_vec());
    Arc::new(with_our_families(fonts))
});

/// And the machine's own, behind them: read only for a letter that those lack, since it takes a moment.
static ALL_FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::clone(&FONTS);
    fonts.load_system_fonts();
    Arc::new(with_our_families(fonts))
});

/// Sets what the families without a name of their own are. The machine's settings, which come with its fonts, put others in their place, some of
/// which it may not have: all text after the first unknown letter would be lost.
fn with_our_families(mut fonts: Database) -> Database {
    fonts.set_sans_serif_family(FAMILY);
    // What is taken where no family of a text is there.
    fonts.set_serif_family(FAMILY);
    fonts
}

fn fonts() -> FontResolver<'static> {
    let known = FontResolver::default_fallback_selector();
    FontResolver {
        select_fallback: Box::new(move |letter, tried, fonts| {
            known(letter, tried, fonts).or_else(|| {
                // A copy of the others with more behind them: what was chosen before keeps its place.
                *fonts = Arc::clone(&ALL_FONTS);
                known(letter, tried, fonts)
            })
        }),
        ..FontResolver::default()
    }
}

/// A picture as a PNG file of twice its size: 8 bits a channel, without transparency. The same SVG gives the same bytes on any machine.
///
/// Text is set in Roboto, which comes with taktline: Latin, Greek and Cyrillic letters. Others, such as Chinese ones, are set in a font of
/// the machine's that has them, and leave a gap where there is none.
///
/// # Errors
/// An SVG that cannot be read, or is too large to be drawn.
pub fn plot_png(plot: &Plot) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::Model(format!("cannot draw `{}` as PNG: {error}", plot.name))
    };
    let options = Options {
        font_family: FAMILY.to_owned(),
        fontdb: Arc::clone(&FONTS),
        font_resolver: fonts(),
        ..Options::default()
    };
    let tree = Tree::from_str(&plot.svg, &options).map_err(|error| failed(&error))?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .ok_or_else(|| failed(&"it has no size"))?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or_else(|| failed(&"it is too large"))?;
    // What a picture leaves open is paper.
    pixels.fill(resvg::tiny_skia::Color::WHITE);
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    let colours: Vec<u8> = pixels
        .data()
        .chunks_exact(4)
        .flat_map(|pixel| &pixel[..3])
        .copied()
        .collect();
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            &colours,
            size.width(),
            size.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::plots::{HEIGHT, WIDTH, picture};

    fn pixels(plot: &Plot) -> RgbImage {
        let bytes = plot_png(plot).expect("a PNG file");
        image::load_from_memory(&bytes)
            .expect("a readable PNG file")
            .to_rgb8()
    }

    fn with_title(title: &str) -> Plot {
        picture("empty", title, "", 200, |_| Ok(())).expect("a picture")
    }

    fn dark(picture: &RgbImage) -> usize {
        let is_dark = |pixel: &&image::Rgb<u8>| pixel.0.iter().all(|channel| *channel < 128);
        picture.pixels().filter(is_dark).count()
    }

    /// Edges fall on parts of pixels, of each letter on others.
    fn is_near(found: usize, wanted: usize) -> bool {
        found.abs_diff(wanted) * 20 < wanted
    }

    #[test]
    fn a_picture_is_twice_as_large_and_not_blank() {
        let values: Vec<f64> = (0..200).map(|row| f64::from(row % 17) - 8.0).collect();
        let plot = crate::plots::residuals(&values, None, Some(0.0)).expect("a picture");
        let drawn = pixels(&plot);
        assert_eq!(drawn.dimensions(), (2 * WIDTH, 2 * HEIGHT));
        let blue = drawn
            .pixels()
            .filter(|pixel| pixel[2] > 200 && pixel[0] < 100)
            .count();
        assert!(blue > 100_000, "{blue} pixels of bars");
        let white = drawn.pixels().filter(|pixel| pixel.0 == [255; 3]).count();
        assert!(white > 1_000_000, "{white} pixels of paper");
    }

    #[test]
    fn text_is_drawn() {
        let [none, one, three] = ["", "I", "III"].map(|title| dark(&pixels(&with_title(title))));
        assert_eq!(none, 0);
        // A bold stem 96 pixels high is some 15 wide and 70 high.
        assert!((600..1600).contains(&one), "{one}");
        assert!(
            is_near(three, 3 * one),
            "letters alike, and none on another: {three}, {one}"
        );
        let [latin, cyrillic] = ["HBT", "НВТ"].map(|title| dark(&pixels(&with_title(title))));
        assert!(
            is_near(latin, cyrillic),
            "letters of one form: {latin}, {cyrillic}"
        );
    }

    /// Needs a Chinese font on the machine, which scripts/test-servers.sh sees to.
    #[test]
    fn letters_that_our_font_lacks_are_set_in_one_of_the_machine() {
        let [one, mixed] = ["图", "I图"].map(|title| dark(&pixels(&with_title(title))));
        assert!(one > 1000, "{one}");
        assert!(mixed > one + 500, "{mixed}: our own letter is still there");
        // Nobody has this one.
        assert_eq!(dark(&pixels(&with_title("\u{e0ff}"))), 0);
    }

    #[test]
    fn what_follows_a_letter_of_another_font_is_drawn_as_ever() {
        // The heading is the first text, what stands below it the second.
        let below_title = |title: &str| {
            let plot = picture("empty", title, "below the title", 200, |_| Ok(()));
            let drawn = pixels(&plot.expect("a picture"));
            let (width, height) = drawn.dimensions();
            image::imageops::crop_imm(&drawn, 0, 164, width, height - 164).to_image()
        };
        let plain = below_title("I");
        let ink = plain.pixels().filter(|pixel| pixel[0] < 200).count();
        assert!(ink > 1000, "{ink}");
        // One that nobody has, a Chinese, an Arabic one, and a face.
        for title in ["\u{e0ff}", "图", "ع", "😀"] {
            assert!(below_title(title) == plain, "{title}");
        }
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes() {
        let bytes = || plot_png(&with_title("Recall")).expect("a PNG file");
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let plot = Plot {
            name: "roc".into(),
            title: "ROC".into(),
            svg: "<svg".into(),
        };
        let error = plot_png(&plot).expect_err("half an SVG").to_string();
        assert!(error.contains("cannot draw `roc` as PNG"), "{error}");
    }
}
