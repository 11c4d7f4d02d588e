//! The catalogue's layouts against an oracle that shares nothing with it: tables typed by hand, and
//! counts that were computed elsewhere.
use std::collections::BTreeSet;

use crate::common::{
    A30, A100_80GB, A100_80GB_MEDIA, RTX_PRO_6000, Typed, all_layouts, all_multisets,
};
use migplan::hardware::{Board, Catalogue, layout};

fn board(id: &str) -> std::sync::Arc<Board> {
    Catalogue::built_in().by_id(id).unwrap().clone()
}

/// The product's layouts over the named profiles, as (name, start) pairs.
fn derived(board: &Board, names: &[&str]) -> BTreeSet<Vec<(String, u32)>> {
    let allowed = |p: usize| names.contains(&board.profiles[p].name.to_string().as_str());
    layout::placed_layouts(board, allowed)
        .iter()
        .map(|layout| {
            let mut named: Vec<(String, u32)> = layout
                .iter()
                .map(|p| (board.profiles[p.profile].name.to_string(), p.start))
                .collect();
            named.sort();
            named
        })
        .collect()
}

fn typed(profiles: &[Typed]) -> BTreeSet<Vec<(String, u32)>> {
    all_layouts(profiles)
        .iter()
        .map(|layout| {
            let mut named: Vec<(String, u32)> =
                layout.iter().map(|(i, start)| (profiles[*i].0.to_string(), *start)).collect();
            named.sort();
            named
        })
        .collect()
}

#[test]
fn layouts_are_those_of_the_guide() {
    let with_media: Vec<Typed> = [A100_80GB, &[A100_80GB_MEDIA]].concat();
    for (id, profiles) in [
        ("a100-sxm4-80gb", A100_80GB),
        ("a100-sxm4-80gb", &with_media),
        ("a30-24gb", A30),
        ("rtx-pro-6000-blackwell-server-96gb", RTX_PRO_6000),
    ] {
        let names: Vec<&str> = profiles.iter().map(|p| p.0).collect();
        assert_eq!(derived(&board(id), &names), typed(profiles), "{id}");
    }
}

/// Placed layouts, maximal placed ones, multisets and maximal multisets.
fn counts(board: &Board, allowed: impl Fn(usize) -> bool + Copy) -> [usize; 4] {
    let placed = layout::placed_layouts(board, allowed);
    let maximal_placed = placed
        .iter()
        .filter(|a| !placed.iter().any(|b| b.len() > a.len() && a.iter().all(|p| b.contains(p))))
        .count();
    [
        placed.len(),
        maximal_placed,
        layout::multisets(board, allowed).len(),
        layout::maximal_multisets(board, allowed).len(),
    ]
}

#[test]
fn counts_of_layouts_are_the_known_ones() {
    let mut eight_slices = 0;
    for board in Catalogue::built_in().boards() {
        let plain = |p: usize| board.profiles[p].name.is_plain();
        let name = |p: usize| &board.profiles[p].name;
        match (board.memory_slices, board.compute_slices) {
            (8, 7) => {
                eight_slices += 1;
                assert_eq!(counts(board, plain), [723, 78, 78, 28], "{}", board.id);
                let single = |p: usize| {
                    plain(p) && !(name(p).gpu_slices == 1 && board.profiles[p].memory_slices == 2)
                };
                assert_eq!(counts(board, single), [298, 19, 38, 12], "{}", board.id);
                let media = |p: usize| plain(p) || name(p).plus == ["me"];
                assert_eq!(layout::multisets(board, media).len(), 128, "{}", board.id);
            }
            (4 | 12, 4) => assert_eq!(counts(board, plain), [26, 5, 10, 4], "{}", board.id),
            (2, 2) => assert_eq!(layout::multisets(board, plain).len(), 4, "{}", board.id),
            other => panic!("{}: {other:?} slices are not covered here", board.id),
        }
    }
    assert!(eight_slices >= 20);
}

#[test]
fn every_multiset_can_be_placed_and_no_other() {
    let board = board("a100-sxm4-80gb");
    let index: Vec<usize> =
        A100_80GB.iter().map(|p| board.profile(&p.0.parse().unwrap()).unwrap().0).collect();
    let legal = all_multisets(A100_80GB);
    let mut tried = 0;
    let mut counts = vec![0u32; A100_80GB.len()];
    // Every combination with up to 8, 5, 4, 3, 2 and 2 instances.
    let most = [8, 5, 4, 3, 2, 2];
    loop {
        let mut wanted = vec![0; board.profiles.len()];
        index.iter().zip(&counts).for_each(|(i, n)| wanted[*i] = *n);
        let placed = layout::place(&board, &wanted, &[]);
        assert_eq!(placed.is_some(), legal.contains(&counts), "{counts:?}");
        if let Some(placed) = placed {
            assert_eq!(layout::counts(&board, &placed), wanted);
            assert_eq!(layout::check(&board, &placed), Ok(()));
        }
        tried += 1;
        let Some(at) = (0..counts.len()).find(|i| counts[*i] < most[*i]) else { break };
        counts[at] += 1;
        counts[..at].fill(0);
    }
    assert_eq!(tried, 9 * 6 * 5 * 4 * 3 * 3);
}

#[test]
fn names_lie_and_usable_memory_does_not() {
    let catalogue = Catalogue::built_in();
    let usable = |id: &str, name: &str| {
        catalogue.by_id(id).unwrap().profile(&name.parse().unwrap()).unwrap().1.memory.0
    };
    assert_eq!(usable("h200-sxm-141gb", "1g.18gb"), 16_384);
    let nvl = catalogue.by_id("h100-nvl-94gb").unwrap();
    let mut wanted = vec![0; nvl.profiles.len()];
    for (name, count) in [("1g.12gb", 2), ("2g.24gb", 1), ("3g.47gb", 1)] {
        wanted[nvl.profile(&name.parse().unwrap()).unwrap().0] = count;
    }
    // 95 GB by their names, and yet they fit.
    assert!(layout::place(nvl, &wanted, &[]).is_some());
}
