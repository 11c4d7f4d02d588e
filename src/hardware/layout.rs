//! Layouts: which sets of placed profiles one GPU can hold. Derived from the placements of the
//! board, never listed by hand.
//!
//! Two rules decide: placements must not overlap, and the media engines are allocated as the
//! attributes say (at most one `+me`; beside `+me.all` only `-me`). Everything about counts of
//! compute slices follows from the placements.

use super::{Board, MediaEngines, ProfileName};

/// One instance of a layout: a profile of the board and the memory slice at which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placement {
    /// First memory slice.
    pub start: u32,
    /// Index into [`Board::profiles`].
    pub profile: usize,
}

/// How often each profile of a board occurs on one GPU, by index into [`Board::profiles`].
pub type Counts = Vec<u32>;

/// Why a set of placed profiles is not a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// A start that the profile does not have.
    #[error("{profile} cannot start at memory slice {start}")]
    Start {
        /// The profile's name.
        profile: String,
        /// The start asked for.
        start: u32,
    },
    /// Two instances on one memory slice.
    #[error("{first} and {second} overlap")]
    Overlap {
        /// `3g.40gb@0`.
        first: String,
        /// The other.
        second: String,
    },
    /// The media engines cannot be allocated so.
    #[error("{first} and {second} cannot be on one GPU: {rule}")]
    Engines {
        /// The one profile.
        first: String,
        /// The other.
        second: String,
        /// The rule in words.
        rule: &'static str,
    },
}

/// The most placements of one profile that fit side by side (starts ascending).
pub fn most_disjoint(starts: &[u32], size: u32) -> u32 {
    let mut free_from = 0;
    let mut count = 0;
    for &start in starts {
        if start >= free_from {
            count += 1;
            free_from = start + size;
        }
    }
    count
}

/// The rule that keeps two profiles off one GPU, if there is one.
fn engine_conflict(a: MediaEngines, b: MediaEngines) -> Option<&'static str> {
    use MediaEngines::{All, None as Without, One};
    match (a, b) {
        (One, One) => Some("a GPU has media engines for one +me instance"),
        (All, Without) | (Without, All) => None,
        (All, _) | (_, All) => Some("+me.all takes every media engine; the others must be -me"),
        _ => None,
    }
}

/// Memory slices of a placement as a bit mask.
fn mask(board: &Board, placement: Placement) -> u64 {
    let size = board.profiles[placement.profile].memory_slices;
    ((1u64 << size) - 1) << placement.start
}

/// Checks that `placements` can exist together on one GPU of `board`.
///
/// # Errors
/// The first rule that they break.
pub fn check(board: &Board, placements: &[Placement]) -> Result<(), Illegal> {
    let name = |p: &Placement| format!("{}@{}", board.profiles[p.profile].name, p.start);
    for (i, a) in placements.iter().enumerate() {
        let profile = &board.profiles[a.profile];
        if !profile.starts.contains(&a.start) {
            return Err(Illegal::Start { profile: profile.name.to_string(), start: a.start });
        }
        for b in &placements[..i] {
            if mask(board, *a) & mask(board, *b) != 0 {
                return Err(Illegal::Overlap { first: name(b), second: name(a) });
            }
            let other = &board.profiles[b.profile];
            if let Some(rule) =
                engine_conflict(profile.name.media_engines(), other.name.media_engines())
            {
                return Err(Illegal::Engines {
                    first: other.name.to_string(),
                    second: profile.name.to_string(),
                    rule,
                });
            }
        }
    }
    Ok(())
}

/// Every layout of a board over the profiles for which `allowed` is true, the empty one too, each
/// sorted by start. On the 8-slice boards these are 723 without media profiles.
pub fn placed_layouts(board: &Board, allowed: impl Fn(usize) -> bool) -> Vec<Vec<Placement>> {
    let profiles: Vec<usize> = (0..board.profiles.len()).filter(|p| allowed(*p)).collect();
    let mut found = Vec::new();
    let mut current = Vec::new();
    extend(board, &profiles, 0, &mut current, &mut |layout| found.push(layout.to_vec()));
    found
}

/// Walks the memory slices from `slice` on, at each leaving it free or starting a profile there.
fn extend(
    board: &Board,
    profiles: &[usize],
    slice: u32,
    current: &mut Vec<Placement>,
    visit: &mut impl FnMut(&[Placement]),
) {
    if slice >= board.memory_slices {
        visit(current);
        return;
    }
    extend(board, profiles, slice + 1, current, visit);
    for &profile in profiles {
        let candidate = &board.profiles[profile];
        if candidate.starts.contains(&slice) && engines_allow(board, current, profile) {
            current.push(Placement { start: slice, profile });
            extend(board, profiles, slice + candidate.memory_slices, current, visit);
            current.pop();
        }
    }
}

fn engines_allow(board: &Board, placements: &[Placement], profile: usize) -> bool {
    let engines = board.profiles[profile].name.media_engines();
    placements
        .iter()
        .all(|p| engine_conflict(board.profiles[p.profile].name.media_engines(), engines).is_none())
}

/// The distinct multisets of profiles that some layout realises, sorted, the empty one too
/// (78 on the 8-slice boards without media profiles).
pub fn multisets(board: &Board, allowed: impl Fn(usize) -> bool) -> Vec<Counts> {
    let mut all: Vec<Counts> =
        placed_layouts(board, allowed).iter().map(|layout| counts(board, layout)).collect();
    all.sort();
    all.dedup();
    all
}

/// The multisets that no other one contains: all that a planner needs where instances may stay
/// unused (28 on the 8-slice boards without media profiles).
pub fn maximal_multisets(board: &Board, allowed: impl Fn(usize) -> bool) -> Vec<Counts> {
    let all = multisets(board, allowed);
    all.iter()
        .filter(|a| !all.iter().any(|b| *a != b && a.iter().zip(b).all(|(x, y)| x <= y)))
        .cloned()
        .collect()
}

/// Counts the profiles of a layout.
pub fn counts(board: &Board, layout: &[Placement]) -> Counts {
    let mut counts = vec![0; board.profiles.len()];
    for placement in layout {
        counts[placement.profile] += 1;
    }
    counts
}

/// Places `wanted` (by profile index) around `fixed`, which keeps its place. Among all ways the
/// one is taken that fills the board from its high end, profiles with few starts first, as the
/// driver itself does; the result is sorted by start and contains `fixed`.
///
/// Returns `None` where they cannot all be on one GPU.
pub fn place(board: &Board, wanted: &[u32], fixed: &[Placement]) -> Option<Vec<Placement>> {
    let mut order: Vec<usize> = (0..board.profiles.len()).filter(|p| wanted[*p] > 0).collect();
    order.sort_by_key(|p| {
        let profile = &board.profiles[*p];
        (std::cmp::Reverse(profile.memory_slices), std::cmp::Reverse(profile.compute_slices), *p)
    });
    let mut todo: Vec<usize> = Vec::new();
    for profile in order {
        let count = wanted[profile];
        if count > board.memory_slices {
            return None;
        }
        todo.extend(std::iter::repeat_n(profile, count as usize));
    }
    check(board, fixed).ok()?;
    let mut layout = fixed.to_vec();
    let taken = fixed.iter().fold(0, |taken, p| taken | mask(board, *p));
    if !search(board, &todo, None, taken, &mut layout) {
        return None;
    }
    layout.sort();
    Some(layout)
}

fn search(
    board: &Board,
    todo: &[usize],
    previous: Option<Placement>,
    taken: u64,
    layout: &mut Vec<Placement>,
) -> bool {
    let Some((&profile, rest)) = todo.split_first() else {
        return true;
    };
    if !engines_allow(board, layout, profile) {
        return false;
    }
    // Equal profiles are placed from high to low starts, so that no order is tried twice.
    let below = previous.filter(|p| p.profile == profile).map_or(u32::MAX, |p| p.start);
    for &start in board.profiles[profile].starts.iter().rev().filter(|start| **start < below) {
        let placement = Placement { start, profile };
        if taken & mask(board, placement) != 0 {
            continue;
        }
        layout.push(placement);
        if search(board, rest, Some(placement), taken | mask(board, placement), layout) {
            return true;
        }
        layout.pop();
    }
    false
}

/// As many instances of one profile as a board takes; none where the board lacks it.
pub fn uniform_counts(board: &Board, name: &ProfileName) -> Counts {
    let mut counts = vec![0; board.profiles.len()];
    if let Some((index, profile)) = board.profile(name) {
        counts[index] = profile.max_instances;
    }
    counts
}

/// `all-balanced` as mig-parted ships it: 2 × 1g + 1 × 2g + 1 × 3g, and where the board has no 3g
/// (A30, RTX PRO 6000) 2 × 1g + 1 × 2g. None where the board has no such layout.
pub fn balanced_counts(board: &Board) -> Counts {
    // Of two profiles of the same compute slices the plain one is the smaller.
    let of_slices = |slices: u32| {
        let plain = board.profiles.iter().enumerate().filter(|(_, p)| p.name.is_plain());
        plain.filter(|(_, p)| p.compute_slices == slices).min_by_key(|(_, p)| p.memory).map(|p| p.0)
    };
    for wanted in [&[(1, 2), (2, 1), (3, 1)][..], &[(1, 2), (2, 1)]] {
        let mut counts = vec![0; board.profiles.len()];
        let mut complete = true;
        for (slices, count) in wanted {
            match of_slices(*slices) {
                Some(profile) => counts[profile] = *count,
                None => complete = false,
            }
        }
        if complete && place(board, &counts, &[]).is_some() {
            return counts;
        }
    }
    vec![0; board.profiles.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Catalogue;

    fn board(id: &str) -> std::sync::Arc<Board> {
        Catalogue::built_in().by_id(id).unwrap().clone()
    }

    fn wanted(board: &Board, names: &[(&str, u32)]) -> Counts {
        let mut counts = vec![0; board.profiles.len()];
        for (name, count) in names {
            counts[board.profile(&name.parse().unwrap()).unwrap().0] += count;
        }
        counts
    }

    #[test]
    fn legal_and_illegal_sets() {
        let b = board("a100-sxm4-80gb");
        for legal in [
            &[("4g.40gb", 1), ("3g.40gb", 1)][..],
            &[("3g.40gb", 1), ("1g.10gb", 4)],
            &[("2g.20gb", 3), ("1g.10gb", 1)],
            &[("2g.20gb", 3), ("1g.20gb", 1)],
            &[("1g.10gb", 6), ("1g.20gb", 1)],
            &[("3g.40gb", 2)],
            &[],
        ] {
            let layout = place(&b, &wanted(&b, legal), &[]).unwrap_or_else(|| panic!("{legal:?}"));
            assert_eq!(counts(&b, &layout), wanted(&b, legal));
            assert_eq!(check(&b, &layout), Ok(()));
        }
        for illegal in [
            &[("3g.40gb", 2), ("1g.10gb", 1)][..],
            &[("1g.20gb", 4), ("1g.10gb", 1)],
            &[("4g.40gb", 2)],
            &[("1g.10gb+me", 2)],
            &[("1g.10gb", 99)],
        ] {
            assert_eq!(place(&b, &wanted(&b, illegal), &[]), None, "{illegal:?}");
        }
    }

    #[test]
    fn fixed_instances_stay() {
        let b = board("h100-sxm5-80gb");
        let one = b.profile(&"1g.10gb".parse().unwrap()).unwrap().0;
        let busy: Vec<Placement> =
            [0, 1, 5].iter().map(|&start| Placement { start, profile: one }).collect();
        let fits = |name: &str| place(&b, &wanted(&b, &[(name, 1)]), &busy);
        assert_eq!(fits("3g.40gb"), None);
        assert_eq!(fits("4g.40gb"), None);
        assert_eq!(fits("2g.20gb").unwrap().iter().find(|p| p.profile != one).unwrap().start, 2);
        assert!(place(&b, &wanted(&b, &[("1g.10gb", 4)]), &busy).is_some());
        assert!(place(&b, &wanted(&b, &[("1g.10gb", 5)]), &busy).is_none());
    }

    #[test]
    fn check_names_the_rule() {
        let b = board("a100-sxm4-80gb");
        let at = |name: &str, start| Placement {
            start,
            profile: b.profile(&name.parse().unwrap()).unwrap().0,
        };
        assert_eq!(
            check(&b, &[at("3g.40gb", 1)]).unwrap_err().to_string(),
            "3g.40gb cannot start at memory slice 1"
        );
        assert_eq!(
            check(&b, &[at("3g.40gb", 0), at("1g.10gb", 3)]).unwrap_err().to_string(),
            "3g.40gb@0 and 1g.10gb@3 overlap"
        );
        assert!(matches!(
            check(&b, &[at("1g.10gb+me", 0), at("1g.10gb+me", 3)]),
            Err(Illegal::Engines { .. })
        ));
    }
}
