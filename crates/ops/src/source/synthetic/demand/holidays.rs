//! Holidays of much of Europe.

use chrono::{Datelike, Days, NaiveDate};

/// The holiday on that day, if it is one.
pub(super) fn name(date: NaiveDate) -> Option<&'static str> {
    let fixed = match (date.month(), date.day()) {
        (1, 1) => Some("new_year"),
        (5, 1) => Some("labour_day"),
        (12, 25) => Some("christmas"),
        (12, 26) => Some("second_christmas_day"),
        _ => None,
    };
    fixed.or_else(|| {
        let easter = easter(date.year())?;
        if Some(date) == easter.checked_sub_days(Days::new(2)) {
            Some("good_friday")
        } else if date == easter {
            Some("easter")
        } else if Some(date) == easter.checked_add_days(Days::new(1)) {
            Some("easter_monday")
        } else {
            None
        }
    })
}

/// Easter Sunday of the Gregorian calendar (J. Meeus: "Astronomical Algorithms", chapter 8).
fn easter(year: i32) -> Option<NaiveDate> {
    let golden = year % 19;
    let (century, in_century) = (year / 100, year % 100);
    let correction = (century + 8) / 25;
    let moon = (century - correction + 1) / 3;
    let epact = (19 * golden + century - century / 4 - moon + 15) % 30;
    let weekday = (32 + 2 * (century % 4) + 2 * (in_century / 4) - epact - in_century % 4) % 7;
    let late = (golden + 11 * epact + 22 * weekday) / 451;
    let days = epact + weekday - 7 * late + 114;
    NaiveDate::from_ymd_opt(year, (days / 31) as u32, (days % 31 + 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easter_falls_where_the_calendar_says() {
        for (year, month, day) in [
            (1961, 4, 2),
            (2000, 4, 23),
            (2008, 3, 23),
            (2019, 4, 21),
            (2024, 3, 31),
            (2025, 4, 20),
            (2038, 4, 25),
        ] {
            assert_eq!(
                easter(year),
                NaiveDate::from_ymd_opt(year, month, day),
                "{year}"
            );
        }
    }

    #[test]
    fn days_around_easter_have_names() {
        let on = |month, day| name(NaiveDate::from_ymd_opt(2024, month, day).expect("a day"));
        assert_eq!(on(3, 29), Some("good_friday"));
        assert_eq!(on(3, 31), Some("easter"));
        assert_eq!(on(4, 1), Some("easter_monday"));
        assert_eq!(on(12, 25), Some("christmas"));
        assert_eq!(on(3, 30), None);
    }
}
