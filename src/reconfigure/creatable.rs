//! What could still be created on a GPU beside what it has, and what blocks the rest.

use crate::fleet::observed::{Instances, ObservedGpu, ObservedInstance};
use crate::hardware::Board;
use crate::hardware::layout::{self, Placement};

/// Where one more instance of a profile could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creatable {
    /// Index into the board's profiles.
    pub profile: usize,
    /// The starts at which one could be created now.
    pub starts: Vec<u32>,
    /// For every other start, which present instances would have to go, as indices into the
    /// present placements.
    pub blocked: Vec<(u32, Vec<usize>)>,
}

impl Creatable {
    /// The fewest instances that keep the profile from being created; empty where it can be.
    pub fn blockers(&self) -> &[usize] {
        if !self.starts.is_empty() {
            return &[];
        }
        self.blocked.iter().map(|(_, by)| by.as_slice()).min_by_key(|by| by.len()).unwrap_or(&[])
    }
}

/// What could be created of each profile of `board`, in its order.
pub fn creatable(board: &Board, present: &[Placement]) -> Vec<Creatable> {
    (0..board.profiles.len())
        .map(|profile| {
            let mut entry = Creatable { profile, starts: Vec::new(), blocked: Vec::new() };
            for &start in &board.profiles[profile].starts {
                let new = Placement { start, profile };
                let by: Vec<usize> = (0..present.len())
                    .filter(|&i| layout::check(board, &[present[i], new]).is_err())
                    .collect();
                if by.is_empty() {
                    entry.starts.push(start);
                } else {
                    entry.blocked.push((start, by));
                }
            }
            entry
        })
        .collect()
}

/// An observed GPU whose MIG mode is on and whose instances are known: its board, what could be
/// created of each profile, and the memory slices that no instance covers.
pub fn of_gpu(gpu: &ObservedGpu) -> Option<(&Board, Vec<Creatable>, usize)> {
    let board = gpu.board.as_deref()?;
    let Instances::Known(instances) = &gpu.instances else {
        return None;
    };
    if !gpu.mode?.current {
        return None;
    }
    let present: Vec<Placement> = instances.iter().map(ObservedInstance::placement).collect();
    let free = free_slices(board, &present).len();
    Some((board, creatable(board, &present), free))
}

/// The profile with the most memory slices, and then compute slices, that `may` be taken.
pub fn largest(board: &Board, may: impl Fn(usize) -> bool) -> Option<usize> {
    (0..board.profiles.len()).filter(|p| may(*p)).max_by_key(|&p| {
        let profile = &board.profiles[p];
        (profile.memory_slices, profile.compute_slices, std::cmp::Reverse(p))
    })
}

/// Why no instance of a profile could be created, though as many memory slices are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// They are not in one piece.
    Scattered,
    /// They are, but none of its placements lies within them: the pieces that are large enough, as
    /// first and last slice.
    Misplaced(Vec<(u32, u32)>),
    /// One does, but another instance has the media engines.
    Engines,
}

/// Why a profile that is not creatable is not, where `present` leaves enough slices for it.
pub fn why_not(board: &Board, present: &[Placement], profile: usize) -> Reason {
    let info = &board.profiles[profile];
    let free = free_slices(board, present);
    let mut pieces: Vec<(u32, u32)> = Vec::new();
    for &slice in &free {
        match pieces.last_mut() {
            Some((_, last)) if *last + 1 == slice => *last = slice,
            _ => pieces.push((slice, slice)),
        }
    }
    pieces.retain(|(first, last)| last - first + 1 >= info.memory_slices);
    let lies_free =
        |start: &u32| (*start..start + info.memory_slices).all(|slice| free.contains(&slice));
    match pieces.is_empty() {
        true => Reason::Scattered,
        false if info.starts.iter().any(lies_free) => Reason::Engines,
        false => Reason::Misplaced(pieces),
    }
}

/// Memory slices that no instance covers.
pub fn free_slices(board: &Board, present: &[Placement]) -> Vec<u32> {
    (0..board.memory_slices)
        .filter(|slice| {
            !present.iter().any(|p| {
                (p.start..p.start + board.profiles[p.profile].memory_slices).contains(slice)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Catalogue;

    #[test]
    fn free_slices_that_no_profile_fits() {
        let board = Catalogue::built_in().by_id("h100-sxm5-80gb").unwrap().clone();
        let of = |name: &str| board.profile(&name.parse().unwrap()).unwrap().0;
        let busy = [0, 1, 5].map(|start| Placement { start, profile: of("1g.10gb") });
        let found = creatable(&board, &busy);
        let starts = |name: &str| found[of(name)].starts.clone();
        assert_eq!(starts("2g.20gb"), [2]);
        assert_eq!(starts("1g.10gb"), [2, 3, 4, 6]);
        assert_eq!(starts("1g.20gb"), [2, 6]);
        for name in ["3g.40gb", "4g.40gb", "7g.80gb"] {
            assert_eq!(starts(name), [] as [u32; 0]);
        }
        assert_eq!(free_slices(&board, &busy).len(), 5);
        assert_eq!(found[of("3g.40gb")].blocked, [(0, vec![0, 1]), (4, vec![2])]);
        assert_eq!(found[of("3g.40gb")].blockers(), [2]);
        assert_eq!(found[of("7g.80gb")].blockers(), [0, 1, 2]);
    }

    #[test]
    fn why_free_slices_do_not_suffice() {
        let board = Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone();
        let of = |name: &str| board.profile(&name.parse().unwrap()).unwrap().0;
        let why = |present: &[(&str, u32)], profile: &str| {
            let present: Vec<Placement> = present
                .iter()
                .map(|&(name, start)| Placement { start, profile: of(name) })
                .collect();
            why_not(&board, &present, of(profile))
        };
        let seven = [("2g.20gb", 0), ("2g.20gb", 2), ("2g.20gb", 4), ("1g.10gb", 6)];
        assert_eq!(why(&seven, "1g.10gb"), Reason::Misplaced(vec![(7, 7)]));
        let apart = [("1g.10gb", 1), ("1g.10gb", 3), ("3g.40gb", 4)];
        assert_eq!(why(&apart, "2g.20gb"), Reason::Scattered);
        let odd = [("1g.10gb", 0), ("1g.10gb", 3), ("3g.40gb", 4)];
        assert_eq!(why(&odd, "2g.20gb"), Reason::Misplaced(vec![(1, 2)]));
        assert_eq!(why(&[("1g.10gb+me", 0)], "1g.10gb+me"), Reason::Engines);
    }
}
