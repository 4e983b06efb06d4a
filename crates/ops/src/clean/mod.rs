//! `clean.*`: stateless work on rows and columns.

mod cast;
mod drop;
mod drop_duplicates;
mod drop_nulls;
mod fill_null;
mod filter;
mod rename;
mod select;
mod sort;
