//! `clean.*`: work on rows and columns.

mod align;
mod calendar_grid;
mod cast;
mod clip_outliers;
mod drop;
mod drop_duplicates;
mod drop_nulls;
mod fill_null;
mod filter;
mod gaps;
mod groups;
mod learned;
mod map_values;
mod normalize_text;
mod ordered_fill;
mod parse_dates;
mod rename;
mod replace;
mod resample_time;
mod sample;
mod select;
mod sort;
mod texts;
mod trim;
mod union;
mod zones;
