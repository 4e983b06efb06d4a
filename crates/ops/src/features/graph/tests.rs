use polars::{
    df,
    prelude::{DataFrame, TimeUnit},
};

use super::*;
use crate::{
    columns::testing::{codes, passes, schema, stage},
    testing::applied,
};

/// Accounts a and b share device 1, b and c device 2; d is alone; rows without an account or device tie nothing.
fn ties() -> DataFrame {
    df!(
        "account" => [Some("a"), Some("b"), Some("b"), Some("c"), Some("d"), None, Some("a"), Some("b")],
        "device" => [Some(1_i64), Some(1), Some(2), Some(2), Some(3), Some(3), None, Some(1)],
        "at" => [Some(1_i64), Some(2), Some(3), Some(3), Some(4), Some(5), Some(6), None],
    )
    .expect("a frame")
}

fn counted(params: &str, rows: &DataFrame) -> [Vec<Option<i64>>; 4] {
    let graph: Graph = stage(&format!("{{entity: account, link: device{params}}}"));
    let found = applied(&graph, std::slice::from_ref(rows)).expect("rows");
    graph.made().map(|name| {
        found
            .column(&name)
            .expect("a column")
            .i64()
            .expect("integers")
            .to_vec()
    })
}

#[test]
fn the_whole_table_is_seen_without_an_order() {
    let [links, entities, neighbors, component] = counted("", &ties());
    let some = |values: [i64; 8], null: usize| {
        let mut values = values.map(Some);
        values[null] = None;
        values.to_vec()
    };
    assert_eq!(links, some([1, 2, 2, 1, 1, 0, 1, 2], 5));
    assert_eq!(entities, some([2, 2, 2, 2, 1, 1, 0, 2], 6));
    // a and c are neighbours of b, not of each other; all three hang together.
    assert_eq!(neighbors, some([1, 2, 2, 1, 0, 0, 1, 2], 5));
    assert_eq!(component, some([3, 3, 3, 3, 1, 0, 3, 3], 5));
}

#[test]
fn over_time_a_row_sees_only_what_was() {
    let [links, entities, neighbors, component] = counted(", over: at", &ties());
    let null = None;
    assert_eq!(
        links,
        [
            Some(1),
            Some(1),
            Some(2),
            Some(1),
            Some(1),
            null,
            Some(1),
            null
        ]
    );
    assert_eq!(
        entities,
        [
            Some(1),
            Some(2),
            Some(2),
            Some(2),
            Some(1),
            Some(1),
            null,
            null
        ]
    );
    assert_eq!(
        neighbors,
        [
            Some(0),
            Some(1),
            Some(2),
            Some(1),
            Some(0),
            null,
            Some(1),
            null
        ]
    );
    assert_eq!(
        component,
        [
            Some(1),
            Some(2),
            Some(3),
            Some(3),
            Some(1),
            null,
            Some(3),
            null
        ]
    );
    let [links, entities, neighbors, component] =
        counted(", over: at, exclude_current: true", &ties());
    assert_eq!(
        links,
        [
            Some(0),
            Some(0),
            Some(1),
            Some(0),
            Some(0),
            null,
            Some(1),
            null
        ]
    );
    assert_eq!(
        entities,
        [
            Some(0),
            Some(1),
            Some(0),
            Some(0),
            Some(0),
            Some(1),
            null,
            null
        ]
    );
    assert_eq!(
        neighbors,
        [
            Some(0),
            Some(0),
            Some(1),
            Some(0),
            Some(0),
            null,
            Some(1),
            null
        ]
    );
    assert_eq!(
        component,
        [
            Some(1),
            Some(1),
            Some(2),
            Some(1),
            Some(1),
            null,
            Some(3),
            null
        ]
    );
}

#[test]
fn later_rows_change_nothing_of_earlier_ones() {
    let rows = ties();
    for params in [
        ", over: at",
        ", over: at, exclude_current: true",
        ", over: at, max_links: 1",
    ] {
        let all = counted(params, &rows);
        for height in 0..=rows.height() {
            let some = counted(params, &rows.slice(0, height));
            // Rows 3 and 4 are of one time: they are known together.
            if height == 3 {
                continue;
            }
            for (some, all) in some.iter().zip(&all) {
                assert_eq!(some[..], all[..height], "{params} {height}");
            }
        }
    }
}

#[test]
fn a_link_of_too_many_ties_nobody() {
    let rows = df!("account" => ["a", "b", "c", "c", "d"], "device" => ["public", "public", "public", "home", "home"], "at" => [1_i64, 2, 3, 4, 5])
        .expect("a frame");
    let [_, entities, neighbors, component] = counted(", max_links: 2", &rows);
    assert_eq!(entities, [3, 3, 3, 2, 2].map(Some));
    assert_eq!(neighbors, [0, 0, 1, 1, 1].map(Some));
    assert_eq!(component, [1, 1, 2, 2, 2].map(Some));
    // Over time nobody knew of the third account when the second came.
    let [_, _, neighbors, component] = counted(", max_links: 2, over: at", &rows);
    assert_eq!(neighbors, [0, 1, 0, 0, 1].map(Some));
    assert_eq!(component, [1, 2, 1, 1, 2].map(Some));
}

/// Every figure against a second way of computing it: ties searched step by step.
#[test]
fn agrees_with_a_search() {
    let mut state = 11_u64;
    let mut next = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let rows: Vec<(u64, u64, i64)> = (0..120)
        .map(|_| (next(30), next(40), next(60) as i64))
        .collect();
    let frame = df!(
        "account" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        "device" => rows.iter().map(|row| format!("d{}", row.1)).collect::<Vec<_>>(),
        "at" => rows.iter().map(|row| row.2).collect::<Vec<_>>(),
    )
    .expect("a frame");
    let sharing = |ties: &[(u64, u64)], account: u64| -> BTreeSet<u64> {
        let devices: BTreeSet<u64> = ties
            .iter()
            .filter(|tie| tie.0 == account)
            .map(|tie| tie.1)
            .collect();
        ties.iter()
            .filter(|tie| devices.contains(&tie.1) && tie.0 != account)
            .map(|tie| tie.0)
            .collect()
    };
    for (params, sees) in [
        ("", (|_, _| true) as fn(i64, i64) -> bool),
        (", over: at", |then, now| then <= now),
        (", over: at, exclude_current: true", |then, now| then < now),
    ] {
        let [links, entities, neighbors, component] = counted(params, &frame);
        for (index, (account, device, at)) in rows.iter().copied().enumerate() {
            let ties: Vec<(u64, u64)> = rows
                .iter()
                .filter(|row| sees(row.2, at))
                .map(|row| (row.0, row.1))
                .collect();
            let different = |of: &dyn Fn(&(u64, u64)) -> Option<u64>| {
                ties.iter().filter_map(of).collect::<BTreeSet<_>>().len() as i64
            };
            assert_eq!(
                links[index],
                Some(different(&|tie| (tie.0 == account).then_some(tie.1)))
            );
            assert_eq!(
                entities[index],
                Some(different(&|tie| (tie.1 == device).then_some(tie.0)))
            );
            assert_eq!(neighbors[index], Some(sharing(&ties, account).len() as i64));
            let mut reached = BTreeSet::from([account]);
            let mut open = vec![account];
            while let Some(one) = open.pop() {
                open.extend(
                    sharing(&ties, one)
                        .into_iter()
                        .filter(|other| reached.insert(*other)),
                );
            }
            assert_eq!(component[index], Some(reached.len() as i64));
        }
    }
}

#[test]
fn small_frames() {
    for height in [0, 1] {
        let rows = ties().slice(0, height);
        for params in ["", ", over: at", ", over: at, exclude_current: true"] {
            assert_eq!(counted(params, &rows)[3].len(), height);
        }
    }
    let rows =
        df!("account" => [None::<&str>, None], "device" => [None::<i64>, None], "at" => [1_i64, 2])
            .expect("a frame");
    assert_eq!(counted("", &rows)[0], [None, None]);
}

#[test]
fn refuses_what_does_not_fit() {
    let input = schema([
        ("account", DataType::String),
        ("device", DataType::Int64),
        ("amount", DataType::Float64),
        ("at", DataType::Datetime(TimeUnit::Microseconds, None)),
    ]);
    passes(
        &stage::<Graph>("{entity: account, link: device, over: at}"),
        &input,
    );
    for (params, expected) in [
        (
            "{entity: acount, link: amount}",
            vec!["unknown-column", "type-mismatch"],
        ),
        ("{entity: account, link: account}", vec!["duplicate-name"]),
        (
            "{entity: account, link: device, over: amount}",
            vec!["type-mismatch"],
        ),
        (
            "{entity: account, link: device, exclude_current: true}",
            vec!["missing-param"],
        ),
    ] {
        assert_eq!(codes(&stage::<Graph>(params), &input), expected, "{params}");
    }
}
