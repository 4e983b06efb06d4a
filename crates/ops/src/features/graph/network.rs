//! Ties between entities and links, counted as they come.

use polars::prelude::{
    Column, DataFrame, DataType, GroupsIndicator, Int64Chunked, IntoColumn, IntoSeries,
    NewChunkedArray, PlHashSet, PolarsError, PolarsResult, Series, StructChunked,
};

/// Which ties a row sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// All of the table.
    Whole,
    /// Those up to its own time.
    UpTo,
    /// Those before its own time.
    Before,
}

/// The most pairs of neighbours that are kept: some 2 GB.
const MOST_PAIRS: usize = 100_000_000;

pub(super) struct Measures {
    pub(super) order: Order,
    pub(super) max_links: Option<usize>,
    /// The names of the results: links of the entity, entities of the link, neighbours, component.
    pub(super) names: [String; 4],
    pub(super) link: String,
}

impl Measures {
    /// Entity, link and, for an order in time, times; a struct of the results.
    pub(super) fn run(&self, columns: &[Column]) -> PolarsResult<Column> {
        let rows = columns[0].len();
        let (entities, entity_count) = identities(&columns[0])?;
        let (links, link_count) = identities(&columns[1])?;
        let mut network = Network::new(entity_count, link_count, self.max_links);
        let mut results: [Vec<Option<i64>>; 4] = std::array::from_fn(|_| vec![None; rows]);
        let tie = |network: &mut Network, row: usize| -> PolarsResult<()> {
            if let (Some(entity), Some(link)) = (entities[row], links[row]) {
                network.tie(entity, link);
                if network.pairs.len() > MOST_PAIRS {
                    return Err(self.too_many(network, &links, &columns[1]));
                }
            }
            Ok(())
        };
        let mut read = |network: &mut Network, row: usize| {
            if let Some(entity) = entities[row] {
                results[0][row] = Some(network.links_of[entity].len() as i64);
                results[2][row] = Some(i64::from(network.neighbors[entity]));
                results[3][row] = Some(i64::from(network.component(entity)));
            }
            if let Some(link) = links[row] {
                results[1][row] = Some(network.entities_of[link].len() as i64);
            }
        };
        if self.order == Order::Whole {
            // How many a link has is known before any of them is tied to another.
            network.tie_all(&entities, &links);
            if network.pairs.len() > MOST_PAIRS {
                return Err(self.too_many(&network, &links, &columns[1]));
            }
            (0..rows).for_each(|row| read(&mut network, row));
        } else {
            let times = columns[2].to_physical_repr().cast(&DataType::Int64)?;
            let times = times.i64()?;
            // A row without a time has no place: it sees nothing and nothing sees it.
            let mut order: Vec<(i64, usize)> = (0..rows)
                .filter_map(|row| Some((times.get(row)?, row)))
                .collect();
            order.sort_unstable();
            for moment in order.chunk_by(|one, other| one.0 == other.0) {
                if self.order == Order::Before {
                    moment.iter().for_each(|(_, row)| read(&mut network, *row));
                }
                for (_, row) in moment {
                    tie(&mut network, *row)?;
                }
                if self.order == Order::UpTo {
                    moment.iter().for_each(|(_, row)| read(&mut network, *row));
                }
            }
        }
        let fields: Vec<Series> = self
            .names
            .iter()
            .zip(results)
            .map(|(name, values)| {
                Int64Chunked::from_iter_options(name.as_str().into(), values.into_iter())
                    .into_series()
            })
            .collect();
        Ok(StructChunked::from_series("graph".into(), rows, fields.iter())?.into_column())
    }

    fn too_many(&self, network: &Network, links: &[Option<usize>], column: &Column) -> PolarsError {
        let largest = (0..network.entities_of.len())
            .max_by_key(|link| network.entities_of[*link].len())
            .unwrap_or(0);
        let value = links
            .iter()
            .position(|link| *link == Some(largest))
            .and_then(|row| column.get(row).ok())
            .map(|value| value.to_string())
            .unwrap_or_default();
        PolarsError::ComputeError(
            format!(
                "more than {MOST_PAIRS} pairs share a `{}`; {value} alone is shared by {}: `max_links` passes over such links, or filter them out above",
                self.link,
                network.entities_of[largest].len()
            )
            .into(),
        )
    }
}

/// Equal values have equal numbers, from 0 on; null has none.
fn identities(values: &Column) -> PolarsResult<(Vec<Option<usize>>, usize)> {
    let column = values.rechunk().with_name("value".into());
    let frame = DataFrame::new(column.len(), vec![column.clone()])?;
    let groups = frame.group_by_with_series(vec![column.clone()], true, true)?;
    let known = column.as_materialized_series().is_not_null();
    let mut identities = vec![None; column.len()];
    let mut count = 0;
    for group in groups.get_groups().iter() {
        let is_known = |row: usize| known.get(row) == Some(true);
        match group {
            GroupsIndicator::Idx((first, rows)) if is_known(first as usize) => {
                for row in rows.iter() {
                    identities[*row as usize] = Some(count);
                }
            }
            GroupsIndicator::Slice([first, length]) if is_known(first as usize) => {
                identities[first as usize..(first + length) as usize].fill(Some(count));
            }
            _ => continue,
        }
        count += 1;
    }
    Ok((identities, count))
}

struct Network {
    links_of: Vec<PlHashSet<usize>>,
    /// In the order in which they came.
    entities_of: Vec<Vec<usize>>,
    /// Pairs of entities that share a link, the smaller number first.
    pairs: PlHashSet<(u32, u32)>,
    neighbors: Vec<u32>,
    max_links: usize,
    /// Disjoint sets by size, with path halving (Tarjan and van Leeuwen, "Worst-case analysis of set union algorithms", 1984).
    parents: Vec<u32>,
    sizes: Vec<u32>,
}

impl Network {
    fn new(entities: usize, links: usize, max_links: Option<usize>) -> Self {
        Self {
            links_of: vec![PlHashSet::default(); entities],
            entities_of: vec![Vec::new(); links],
            pairs: PlHashSet::default(),
            neighbors: vec![0; entities],
            max_links: max_links.unwrap_or(usize::MAX),
            parents: (0..entities as u32).collect(),
            sizes: vec![1; entities],
        }
    }

    /// A tie as it comes: from the moment that a link has too many, it ties no more.
    fn tie(&mut self, entity: usize, link: usize) {
        if !self.links_of[entity].insert(link) {
            return;
        }
        let others = std::mem::take(&mut self.entities_of[link]);
        if others.len() < self.max_links {
            others.iter().for_each(|other| self.meet(entity, *other));
        }
        self.entities_of[link] = others;
        self.entities_of[link].push(entity);
    }

    /// All ties at once: a link that has too many ties nobody.
    fn tie_all(&mut self, entities: &[Option<usize>], links: &[Option<usize>]) {
        for (entity, link) in entities.iter().zip(links) {
            if let (Some(entity), Some(link)) = (entity, link)
                && self.links_of[*entity].insert(*link)
            {
                self.entities_of[*link].push(*entity);
            }
        }
        let entities_of = std::mem::take(&mut self.entities_of);
        let most = self.max_links;
        for group in entities_of.iter().filter(|group| group.len() <= most) {
            for (index, entity) in group.iter().enumerate() {
                for other in &group[..index] {
                    self.meet(*entity, *other);
                }
                if self.pairs.len() > MOST_PAIRS {
                    break;
                }
            }
        }
        self.entities_of = entities_of;
    }

    fn meet(&mut self, one: usize, other: usize) {
        let pair = (one.min(other) as u32, one.max(other) as u32);
        if !self.pairs.insert(pair) {
            return;
        }
        self.neighbors[one] += 1;
        self.neighbors[other] += 1;
        let (one, other) = (self.root(one as u32), self.root(other as u32));
        if one != other {
            let (large, small) = if self.sizes[one as usize] >= self.sizes[other as usize] {
                (one, other)
            } else {
                (other, one)
            };
            self.parents[small as usize] = large;
            self.sizes[large as usize] += self.sizes[small as usize];
        }
    }

    fn root(&mut self, mut entity: u32) -> u32 {
        while self.parents[entity as usize] != entity {
            let above = self.parents[entity as usize];
            self.parents[entity as usize] = self.parents[above as usize];
            entity = above;
        }
        entity
    }

    fn component(&mut self, entity: usize) -> u32 {
        let root = self.root(entity as u32);
        self.sizes[root as usize]
    }
}
