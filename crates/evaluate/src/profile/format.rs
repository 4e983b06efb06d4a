//! Figures as people read them.

/// A number with about five significant digits, thousands apart.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        return crate::plots::grouped(value);
    }
    if size >= 1e15 || (size < 1e-4 && size > 0.0) {
        return format!("{value:.4e}");
    }
    if size >= 1e4 {
        return crate::plots::grouped(value.round());
    }
    // Digits behind the point for five in all.
    let digits = (4 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A share in percent; what is there at all is never shown as nothing, and what is missing never as all.
pub fn percent(part: usize, whole: usize) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    if part == whole {
        return "100 %".to_owned();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    if percent < 0.1 {
        "< 0.1 %".to_owned()
    } else if percent > 99.9 {
        "> 99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_five_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-3.0, "-3"),
            (1_234_567.0, "1,234,567"),
            (1_234_567.8, "1,234,568"),
            (12.345_678, "12.346"),
            (0.001_234_567_8, "0.0012346"),
            (0.5, "0.5"),
            (9999.96, "10000"),
            (1.5e-9, "1.5000e-9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 1_000_000), "< 0.1 %");
        assert_eq!(percent(999_999, 1_000_000), "> 99.9 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(3, 3), "100 %");
        assert_eq!(percent(0, 0), "0 %");
    }
}
