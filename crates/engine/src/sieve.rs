//! Rows of a joined table that have no partner, left out before the join looks for one.
//!
//! Of twenty million promotions a few hundred thousand meet a purchase. A join of several keys looks each of the twenty million
//! up in a table; a Bloom filter (Bloom, 1970) of the purchases' keys says of nearly all others that they are not there, at a
//! tenth of the cost. What it lets through by chance finds no partner in the join, so that the rows are the same.

use std::sync::{Arc, Mutex, PoisonError};

use polars::{
    lazy::dsl::map_multiple,
    polars_utils::aliases::{PlSeedableRandomStateQuality, SeedableFromU64SeedExt},
    prelude::{
        BooleanChunked, ChunkFullNull, ChunkedCollectInferIterExt, Column, DataType, Expr, Field,
        IntoColumn, LazyFrame, PlSmallStr, PolarsResult,
    },
};

use rayon::prelude::*;

use crate::{streaming, tally::PASSES};

/// Bits of the filter for a key, at least: of keys that are not there no more than three of a hundred pass.
const BITS_A_KEY: usize = 8;

/// More keys than this are not gathered: the filter would no longer stay in the processor's cache, and pass more than it stops.
pub(crate) const MOST_KEYS: usize = 1 << 23;

/// Rows that one thread looks up at once.
const PART: usize = 1 << 16;

/// The keys of a table, approximately.
#[derive(Debug)]
pub(crate) struct Sieve {
    words: Vec<u64>,
}

impl Sieve {
    /// Of the keys in these rows, each of which has some columns; `None` of more than [`MOST_KEYS`].
    pub(crate) fn of(keys: LazyFrame) -> PolarsResult<Option<Self>> {
        let gathered: Arc<Mutex<Vec<u64>>> = Arc::default();
        let each = Arc::clone(&gathered);
        streaming::each(keys, move |rows| {
            let found = hashes(rows.columns())?;
            let mut gathered = each.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.extend(found);
            Ok(gathered.len() > MOST_KEYS)
        })?;
        let gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.len() > MOST_KEYS {
            return Ok(None);
        }
        let bits = (gathered.len() * BITS_A_KEY).next_power_of_two();
        let mut sieve = Self {
            words: vec![0; (bits / 64).max(1)],
        };
        for hash in gathered.iter() {
            let place = sieve.place(*hash);
            sieve.words[place] |= mask(*hash);
        }
        Ok(Some(sieve))
    }

    /// The word of a key, by the upper half of its hash.
    fn place(&self, hash: u64) -> usize {
        // A power of two, so that the remainder is a few bits.
        (hash >> 32) as usize % self.words.len()
    }

    fn passes(&self, hash: u64) -> bool {
        let mask = mask(hash);
        self.words[self.place(hash)] & mask == mask
    }

    /// Which rows have keys that may be there.
    fn found(&self, keys: &[Column]) -> PolarsResult<BooleanChunked> {
        let rows = keys.first().map_or(0, Column::len);
        let starts: Vec<usize> = (0..rows).step_by(PART).collect();
        // A file that keeps all rows together asks for all of them at once, from one thread.
        let parts: Vec<BooleanChunked> = starts
            .into_par_iter()
            .map(|start| {
                let keys: Vec<Column> = keys
                    .iter()
                    .map(|key| key.slice(start as i64, PART))
                    .collect();
                let hashes = hashes(&keys)?;
                let found = hashes.iter().map(|hash| self.passes(*hash));
                Ok(found.collect_ca_trusted(PlSmallStr::EMPTY))
            })
            .collect::<PolarsResult<_>>()?;
        let mut found = BooleanChunked::full_null(PlSmallStr::EMPTY, 0);
        for part in &parts {
            found.append(part)?;
        }
        Ok(found.rechunk().into_owned())
    }

    /// The rows whose keys may be there; each key is taken as the type beside its name.
    pub(crate) fn sift(self, rows: LazyFrame, keys: Vec<(String, DataType)>) -> LazyFrame {
        rows.map(
            move |rows| {
                let columns = keys
                    .iter()
                    .map(|(name, dtype)| rows.column(name)?.cast(dtype))
                    .collect::<PolarsResult<Vec<Column>>>()?;
                rows.filter(&self.found(&columns)?)
            },
            // A condition below stays below: rows that it would fail on must not pass unseen.
            PASSES,
            None,
            Some("rows that may have a partner"),
        )
    }

    /// The same as a condition, which a file of columns looks at before it reads the other columns of a row.
    pub(crate) fn condition(self, keys: Vec<(String, DataType)>) -> Expr {
        let keys: Vec<Expr> = keys
            .into_iter()
            .map(|(name, dtype)| Expr::Column(name.into()).cast(dtype))
            .collect();
        map_multiple(
            move |keys| Ok(self.found(keys)?.into_column()),
            keys,
            |_, fields| Ok(Field::new(fields[0].name().clone(), DataType::Boolean)),
        )
    }
}

/// The bits of a key in its word.
fn mask(hash: u64) -> u64 {
    [0, 6, 12]
        .iter()
        .fold(0, |mask, shift| mask | 1 << ((hash >> shift) & 63))
}

/// A hash of each row, the same for the same values whatever parts they come in.
fn hashes(columns: &[Column]) -> PolarsResult<Vec<u64>> {
    let state = PlSeedableRandomStateQuality::seed_from_u64(0);
    let mut hashes = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        match index {
            0 => column.vec_hash(state.clone(), &mut hashes)?,
            _ => column.vec_hash_combine(state.clone(), &mut hashes)?,
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, IntoLazy, col},
    };

    use super::*;

    fn rows(range: std::ops::Range<i64>) -> DataFrame {
        let number = |row: i64| (row % 13 != 0).then_some(row);
        df!(
            "number" => range.clone().map(number).collect::<Vec<_>>(),
            "name" => range.map(|row| format!("n{}", row % 7)).collect::<Vec<_>>(),
        )
        .expect("a frame")
    }

    #[test]
    fn every_key_that_is_there_passes_and_few_others_do() {
        let sieve = || {
            let keys = rows(0..50_000).lazy();
            Sieve::of(keys).expect("keys").expect("not too many")
        };
        let keys = vec![
            ("number".to_owned(), DataType::Int64),
            ("name".to_owned(), DataType::String),
        ];
        // The same numbers in another type.
        let narrow = |range| {
            let number = col("number").cast(DataType::Int32);
            rows(range).lazy().with_columns([number])
        };
        let both = narrow(0..250_000);
        let passed = sieve().sift(both.clone(), keys.clone());
        let passed = passed.collect().expect("runs");
        let by_condition = both.filter(sieve().condition(keys)).collect();
        assert!(by_condition.expect("runs").equals_missing(&passed));
        let there = passed.head(Some(50_000));
        assert!(there.equals_missing(&narrow(0..50_000).collect().expect("rows")));
        let others = passed.height() - 50_000;
        // Three of a hundred, and the nulls, which are all there.
        assert!(others < 200_000 / 13 + 6_000, "{others}");
    }

    #[test]
    fn too_many_keys_are_none() {
        let keys = df!("key" => (0..MOST_KEYS as i64 + 10).collect::<Vec<_>>()).expect("a frame");
        assert!(Sieve::of(keys.lazy()).expect("keys").is_none());
        let none = df!("key" => Vec::<i64>::new()).expect("a frame");
        let sieve = Sieve::of(none.lazy()).expect("keys").expect("no key");
        let rows = df!("key" => [1_i64, 2]).expect("a frame").lazy();
        let passed = sieve.sift(rows, vec![("key".into(), DataType::Int64)]);
        assert_eq!(passed.collect().expect("runs").height(), 0);
    }
}
