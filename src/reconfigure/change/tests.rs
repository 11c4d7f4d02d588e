//! Changes against cases with known answers, and against exhaustive search.

use super::*;
use crate::hardware::{BoardRef, Catalogue, MediaEngines};

fn a100() -> BoardRef {
    Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone()
}

/// `1g.10gb@4`, with `!` behind it where it is busy.
fn present(board: &Board, text: &str) -> Vec<PresentInstance> {
    text.split_whitespace()
        .map(|one| {
            let (name, start) = one.trim_end_matches('!').split_once('@').unwrap();
            let profile = board.profile(&name.parse().unwrap()).unwrap().0;
            let placement = Placement { start: start.parse().unwrap(), profile };
            PresentInstance::whole(board, placement, one.ends_with('!'))
        })
        .collect()
}

/// `2 1! 1@5 1@?`: sizes of compute instances, one behind the other where no place is named; `!`
/// behind those that are busy, `?` where the driver does not tell the place.
fn computes(text: &str) -> Vec<PresentCompute> {
    let mut next = 0;
    text.split_whitespace()
        .map(|one| {
            let (size, place) = one.trim_end_matches('!').split_once('@').unwrap_or((one, ""));
            let slices = size.trim_end_matches('!').parse().unwrap();
            let start = match place {
                "" => Some(next),
                place => place.parse().ok(),
            };
            next = start.unwrap_or(next) + slices;
            PresentCompute { slices, start, busy: one.ends_with('!') }
        })
        .collect()
}

fn wanted(board: &Board, text: &str) -> Vec<InstanceSpec> {
    let mut shapes: Vec<InstanceSpec> = text
        .split_whitespace()
        .map(|name| InstanceSpec::whole(board, board.profile(&name.parse().unwrap()).unwrap().0))
        .collect();
    shapes.sort();
    shapes
}

fn names(board: &Board, placements: impl IntoIterator<Item = Placement>) -> String {
    let names: Vec<String> = placements
        .into_iter()
        .map(|p| format!("{}@{}", board.profiles[p.profile].name, p.start))
        .collect();
    names.join(" ")
}

/// `keep | destroy | create`, or what blocks it.
fn show(before: &str, after: &str) -> String {
    let board = a100();
    let have = present(&board, before);
    match plan(&board, &have, &wanted(&board, after), false) {
        Ok(change) => {
            let of = |list: &[usize]| names(&board, list.iter().map(|&i| have[i].placement));
            let create = names(&board, change.create.iter().map(|c| c.placement));
            format!("{} | {} | {create}", of(&change.keep), of(&change.destroy))
        }
        Err(Blocked::Impossible) => "impossible".to_string(),
        Err(Blocked::Busy { in_the_way, nearest, .. }) => format!(
            "busy {}; nearest {}",
            names(&board, in_the_way.iter().map(|&i| have[i].placement)),
            names(&board, nearest)
        ),
    }
}

#[test]
fn cases_with_known_answers() {
    assert_eq!(
        show(
            "1g.10gb@0! 1g.10gb@1 2g.20gb@2 3g.40gb@4",
            "1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb 1g.10gb"
        ),
        "1g.10gb@0 1g.10gb@1 | 2g.20gb@2 3g.40gb@4 | 1g.10gb@2 1g.10gb@3 1g.10gb@4 1g.10gb@5 1g.10gb@6"
    );
    assert_eq!(
        show("4g.40gb@0 3g.40gb@4", "4g.40gb 2g.20gb 1g.10gb"),
        "4g.40gb@0 | 3g.40gb@4 | 2g.20gb@4 1g.10gb@6"
    );
    assert_eq!(
        show("4g.40gb@0 1g.10gb@4 1g.10gb@5 1g.10gb@6", "4g.40gb 3g.40gb"),
        "4g.40gb@0 | 1g.10gb@4 1g.10gb@5 1g.10gb@6 | 3g.40gb@4"
    );
    assert_eq!(show("", "3g.40gb 4g.40gb"), " |  | 4g.40gb@0 3g.40gb@4");
    assert_eq!(show("7g.80gb@0", ""), " | 7g.80gb@0 | ");
}

#[test]
fn instances_move_only_where_they_must() {
    // The 3g must leave its place for the 4g, which starts at 0 only.
    assert_eq!(show("3g.40gb@0", "4g.40gb 3g.40gb"), " | 3g.40gb@0 | 4g.40gb@0 3g.40gb@4");
    assert_eq!(show("3g.40gb@4", "4g.40gb 3g.40gb"), "3g.40gb@4 |  | 4g.40gb@0");
    // Nothing to do, whatever the order.
    assert_eq!(show("2g.20gb@0 3g.40gb@4", "3g.40gb 2g.20gb"), "2g.20gb@0 3g.40gb@4 |  | ");
    assert_eq!(show("3g.40gb@0 1g.10gb@4", "1g.10gb 3g.40gb"), "3g.40gb@0 1g.10gb@4 |  | ");
}

#[test]
fn what_is_busy_is_in_the_way_only_where_it_really_is() {
    assert_eq!(
        show("1g.10gb@0! 1g.10gb@1! 1g.10gb@5!", "3g.40gb 1g.10gb"),
        "busy 1g.10gb@1 1g.10gb@5; nearest 1g.10gb@0 1g.10gb@1 1g.10gb@5"
    );
    assert_eq!(
        show("3g.40gb@0!", "4g.40gb 2g.20gb"),
        "busy 3g.40gb@0; nearest 3g.40gb@0 2g.20gb@4"
    );
    assert_eq!(
        show("1g.10gb@6! 1g.10gb@0", "3g.40gb 2g.20gb 1g.10gb"),
        "1g.10gb@6 | 1g.10gb@0 | 3g.40gb@0 2g.20gb@4"
    );
    assert_eq!(show("", "4g.40gb 4g.40gb"), "impossible");
}

#[test]
fn compute_instances_are_added_without_touching_the_rest() {
    let board = a100();
    let mut have = present(&board, "3g.40gb@0 3g.40gb@4!");
    have[0].compute.clear();
    // A GPU instance without compute instances needs only one of those.
    let change = plan(&board, &have, &wanted(&board, "3g.40gb 3g.40gb"), false).unwrap();
    assert_eq!(change.refit, [Refit { instance: 0, destroy: vec![], create: vec![3] }]);
    assert_eq!((change.destroyed(), change.keep), (0, vec![1]));
    // One shared between two, the other whole: the busy one must stay whole.
    let mut shapes = wanted(&board, "3g.40gb 3g.40gb");
    shapes[0].compute = vec![1, 1];
    let change = plan(&board, &have, &shapes, false).unwrap();
    assert_eq!(change.refit, [Refit { instance: 0, destroy: vec![], create: vec![1, 1] }]);
    // Both shared: the busy one is in the way.
    shapes[1].compute = vec![1, 1];
    let blocked = plan(&board, &have, &shapes, false).unwrap_err();
    assert!(matches!(blocked, Blocked::Busy { ref in_the_way, .. } if *in_the_way == [1]));
    let change = plan(&board, &have, &shapes, true).unwrap();
    assert_eq!(change.destroyed(), 1);
}

#[test]
fn an_instance_that_only_lacks_something_gets_it_before_one_that_must_lose_something() {
    let board = a100();
    let mut have = present(&board, "3g.40gb@0 3g.40gb@4");
    let mut shapes = wanted(&board, "3g.40gb 3g.40gb");
    shapes[0].compute = vec![1, 1];
    for (bare, partly) in [(0, 1), (1, 0)] {
        have[bare].compute.clear();
        have[partly].compute = computes("1");
        let change = plan(&board, &have, &shapes, false).unwrap();
        let mut expected = [
            Refit { instance: bare, destroy: vec![], create: vec![3] },
            Refit { instance: partly, destroy: vec![], create: vec![1] },
        ];
        expected.sort_by_key(|refit| refit.instance);
        assert_eq!(change.refit, expected);
    }
    // Where both must lose something, the one that has what is wanted needs nothing new.
    (have[0].compute, have[1].compute) = (computes("2"), computes("1 1"));
    (shapes[0].compute, shapes[1].compute) = (vec![3], vec![1]);
    let change = plan(&board, &have, &shapes, false).unwrap();
    let expected = [
        Refit { instance: 0, destroy: vec![0], create: vec![3] },
        Refit { instance: 1, destroy: vec![1], create: vec![] },
    ];
    assert_eq!(change.refit, expected);
}

#[test]
fn whichever_instance_is_shared_stays_shared() {
    let board = a100();
    for (shared, other) in [(0, 1), (1, 0)] {
        let mut have = present(&board, "3g.40gb@0 3g.40gb@4");
        have[shared].compute = computes("1 1");
        for spec in [0, 1] {
            let mut shapes = wanted(&board, "3g.40gb 3g.40gb");
            shapes[spec].compute = vec![1, 1];
            let change = plan(&board, &have, &shapes, false).unwrap();
            assert!(change.is_empty() && change.keep == [0, 1], "{shared}, {spec}: {change:?}");
            // Both are to be shared: only the other one changes.
            shapes[1 - spec].compute = vec![1, 1];
            let change = plan(&board, &have, &shapes, false).unwrap();
            let refits: Vec<usize> = change.refit.iter().map(|r| r.instance).collect();
            assert_eq!((refits, change.keep), (vec![other], vec![shared]));
        }
    }
}

#[test]
fn a_busy_compute_instance_stays_while_its_neighbour_goes() {
    let board = a100();
    let mut have = present(&board, "3g.40gb@4");
    have[0].compute = computes("1 1! 1");
    let mut shapes = wanted(&board, "3g.40gb");
    shapes[0].compute = vec![1];
    let change = plan(&board, &have, &shapes, false).unwrap();
    assert_eq!(change.refit, [Refit { instance: 0, destroy: vec![0, 2], create: vec![] }]);
}

#[test]
fn a_saved_layout_is_restored_exactly() {
    let board = a100();
    let have = present(&board, "1g.10gb@0 3g.40gb@4 2g.20gb@2");
    let target: Vec<Create> = present(&board, "1g.10gb@1 3g.40gb@4 2g.20gb@2")
        .into_iter()
        .map(|p| Create {
            placement: p.placement,
            compute: p.compute.iter().map(|c| c.slices).collect(),
        })
        .collect();
    let change = restore(&board, &have, &target, false);
    assert_eq!((change.keep, change.destroy), (vec![1, 2], vec![0]));
    assert_eq!(names(&board, change.create.iter().map(|c| c.placement)), "1g.10gb@1");
}

/// The fewest destroyed, found without this module: over all layouts of the wanted counts, the
/// present instances that it does not contain.
fn oracle(layouts: &[Vec<Placement>], present: &[PresentInstance]) -> Option<usize> {
    layouts
        .iter()
        .filter(|layout| {
            present.iter().filter(|p| p.is_busy()).all(|p| layout.contains(&p.placement))
        })
        .map(|layout| present.iter().filter(|p| !layout.contains(&p.placement)).count())
        .min()
}

/// Applies a change to the present placements.
fn after(board: &Board, have: &[PresentInstance], change: &Change) -> Vec<Placement> {
    let mut layout: Vec<Placement> = change
        .keep
        .iter()
        .map(|&i| have[i].placement)
        .chain(change.create.iter().map(|c| c.placement))
        .collect();
    layout.sort();
    layout::check(board, &layout).unwrap();
    layout
}

#[test]
fn all_756_pairs_of_maximal_layouts_change_as_little_as_possible() {
    let board = a100();
    let plain = |p: usize| board.profiles[p].name.media_engines() == MediaEngines::Default;
    let maximal = layout::maximal_multisets(&board, plain);
    assert_eq!(maximal.len(), 28);
    let all = layout::placed_layouts(&board, plain);
    let mut pairs = 0;
    for from in &maximal {
        let start = layout::place(&board, from, &[]).unwrap();
        for to in maximal.iter().filter(|to| *to != from) {
            pairs += 1;
            let layouts: Vec<Vec<Placement>> =
                all.iter().filter(|l| layout::counts(&board, l) == *to).cloned().collect();
            let shapes: Vec<InstanceSpec> = (0..to.len())
                .flat_map(|p| std::iter::repeat_n(InstanceSpec::whole(&board, p), to[p] as usize))
                .collect();
            // Every busy subset of the present layout.
            for busy in 0..(1u32 << start.len()) {
                let have: Vec<PresentInstance> = (0..)
                    .zip(&start)
                    .map(|(i, p)| PresentInstance::whole(&board, *p, busy >> i & 1 == 1))
                    .collect();
                let expected = oracle(&layouts, &have);
                assert_eq!(
                    fewest_destroyed(&board, &have, to, false),
                    expected.map(|n| u32::try_from(n).unwrap())
                );
                match plan(&board, &have, &shapes, false) {
                    Ok(change) => {
                        let layout = after(&board, &have, &change);
                        assert_eq!(layout::counts(&board, &layout), *to);
                        assert_eq!(Some(change.destroyed()), expected);
                        assert!(change.destroy.iter().all(|&i| !have[i].is_busy()));
                    }
                    Err(Blocked::Impossible) => panic!("{to:?} is possible"),
                    Err(Blocked::Busy { in_the_way, .. }) => {
                        assert_eq!(expected, None);
                        let mut freed = have.clone();
                        for &i in &in_the_way {
                            freed[i].compute[0].busy = false;
                        }
                        assert!(oracle(&layouts, &freed).is_some());
                        // None of them is named needlessly.
                        for &i in &in_the_way {
                            let mut but_one = freed.clone();
                            but_one[i].compute[0].busy = true;
                            assert_eq!(oracle(&layouts, &but_one), None);
                        }
                    }
                }
            }
        }
    }
    assert_eq!(pairs, 756);
}

/// What becomes of compute instances in a 7g.80gb: `destroyed places; created sizes`.
fn refitted(before: &str, after: &[u32]) -> String {
    let board = a100();
    let mut have = present(&board, "7g.80gb@0");
    have[0].compute = computes(before);
    let mut shapes = wanted(&board, "7g.80gb");
    shapes[0].compute = after.to_vec();
    match plan(&board, &have, &shapes, false) {
        Ok(change) => match change.refit.as_slice() {
            [] => "nothing".to_string(),
            [refit, ..] => format!("{:?} {:?}", refit.destroy, refit.create),
        },
        Err(Blocked::Busy { .. }) => "busy".to_string(),
        Err(Blocked::Impossible) => "impossible".to_string(),
    }
}

#[test]
fn a_compute_instance_stays_only_where_it_leaves_room() {
    assert_eq!(refitted("4 2 1", &[1, 4, 2]), "nothing");
    assert_eq!(refitted("4 2 1", &[4, 1, 1, 1]), "[1] [1, 1]");
    assert_eq!(refitted("4 2 1", &[3, 1, 1]), "[0, 1] [3, 1]");
    assert_eq!(refitted("4 2", &[3, 2, 2]), "[0, 1] [3, 2, 2]");
    assert_eq!(refitted("4 2!", &[3, 2, 2]), "busy");
    // Of three equal ones that in the way goes, and where none is, the last.
    assert_eq!(refitted("1@1 1@5 1@6", &[3, 1, 1]), "[0] [3]");
    assert_eq!(refitted("1@0 1@4 1@5", &[1, 1]), "[2] []");
    assert_eq!(refitted("1@1! 1@5!", &[3, 1, 1]), "busy");
    assert_eq!(refitted("1@1! 1@5", &[3, 1, 1]), "[1] [3, 1]");
    // Where nobody knows the places, idle ones go, and busy ones are hoped to leave room.
    assert_eq!(refitted("1@? 1@?", &[2, 1]), "[0, 1] [2, 1]");
    assert_eq!(refitted("1@?! 1@?", &[2, 1]), "[1] [2]");
    assert_eq!(refitted("1@? 1@?", &[1]), "[1] []");
    // More than any GPU has is not tried one by one.
    let many = "1@0 ".repeat(30);
    assert_eq!(refitted(&many, &[7]), format!("{:?} [7]", (0..30).collect::<Vec<_>>()));
}

#[test]
fn all_idle_ones_are_made_anew_where_room_is_not_trusted() {
    let board = a100();
    let mut have = present(&board, "7g.80gb@0");
    have[0].compute = computes("1! 1 2@2");
    let create = |compute: &[u32]| {
        [Create { placement: have[0].placement, compute: compute.to_vec() }].to_vec()
    };
    let refit = |compute: &[u32], anew| restore(&board, &have, &create(compute), anew).refit;
    let expected = |destroy: &[usize], create: &[u32]| {
        [Refit { instance: 0, destroy: destroy.to_vec(), create: create.to_vec() }]
    };
    assert_eq!(refit(&[2, 2, 1, 1], false), expected(&[], &[2]));
    assert_eq!(refit(&[2, 2, 1, 1], true), expected(&[1, 2], &[2, 2, 1]));
    // Nothing must come, so nothing must go.
    assert_eq!(refit(&[2, 1, 1], true), []);
    assert_eq!(refit(&[2, 1], true), expected(&[1], &[]));
}

#[test]
fn of_several_ways_the_one_that_keeps_the_most_is_chosen() {
    let board = a100();
    let mut have = present(&board, "3g.40gb@0 3g.40gb@4");
    let spec = |compute: &[u32]| InstanceSpec {
        profile: have[0].placement.profile,
        compute: compute.to_vec(),
    };
    let ways = [vec![spec(&[1, 1])], vec![spec(&[1]), spec(&[1])]];
    for busy in ["1", "1!"] {
        (have[0].compute, have[1].compute) = (computes(busy), computes(busy));
        let change = plan_any(&board, &have, &ways, false).unwrap();
        assert!(change.is_empty() && change.keep == [0, 1], "{change:?}");
        assert_eq!(plan(&board, &have, &ways[0], false).is_ok(), busy == "1");
    }
    have.pop();
    let change = plan_any(&board, &have, &ways, false).unwrap();
    assert_eq!(change.refit, [Refit { instance: 0, destroy: vec![], create: vec![1] }]);
}
