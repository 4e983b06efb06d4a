//! `check.*`: whether the rows are as expected.

mod expect;
