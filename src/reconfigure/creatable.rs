//! What could still be made on a GPU beside what it has, and what stands in the way of the rest.

use crate::hardware::Board;
use crate::hardware::layout::{self, Placement};

/// The room for one more instance of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Index into the board's profiles.
    pub profile: usize,
    /// Where one could be made now.
    pub starts: Vec<u32>,
    /// For every other start, which present instances would have to go, as indices into the
    /// present placements.
    pub blocked: Vec<(u32, Vec<usize>)>,
}

impl Room {
    /// The fewest instances that keep the profile from being made; empty where it can be.
    pub fn blockers(&self) -> &[usize] {
        if !self.starts.is_empty() {
            return &[];
        }
        self.blocked.iter().map(|(_, by)| by.as_slice()).min_by_key(|by| by.len()).unwrap_or(&[])
    }
}

/// The room for each profile of `board`, in its order.
pub fn room(board: &Board, present: &[Placement]) -> Vec<Room> {
    (0..board.profiles.len())
        .map(|profile| {
            let mut room = Room { profile, starts: Vec::new(), blocked: Vec::new() };
            for &start in &board.profiles[profile].starts {
                let new = Placement { start, profile };
                let by: Vec<usize> = (0..present.len())
                    .filter(|&i| layout::check(board, &[present[i], new]).is_err())
                    .collect();
                if by.is_empty() {
                    room.starts.push(start);
                } else {
                    room.blocked.push((start, by));
                }
            }
            room
        })
        .collect()
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
    fn free_slices_that_nobody_can_use() {
        let board = Catalogue::built_in().by_id("h100-sxm5-80gb").unwrap().clone();
        let of = |name: &str| board.profile(&name.parse().unwrap()).unwrap().0;
        let busy = [0, 1, 5].map(|start| Placement { start, profile: of("1g.10gb") });
        let rooms = room(&board, &busy);
        let starts = |name: &str| rooms[of(name)].starts.clone();
        assert_eq!(starts("2g.20gb"), [2]);
        assert_eq!(starts("1g.10gb"), [2, 3, 4, 6]);
        assert_eq!(starts("1g.20gb"), [2, 6]);
        for name in ["3g.40gb", "4g.40gb", "7g.80gb"] {
            assert_eq!(starts(name), [] as [u32; 0]);
        }
        assert_eq!(free_slices(&board, &busy).len(), 5);
        assert_eq!(rooms[of("3g.40gb")].blocked, [(0, vec![0, 1]), (4, vec![2])]);
        assert_eq!(rooms[of("3g.40gb")].blockers(), [2]);
        assert_eq!(rooms[of("7g.80gb")].blockers(), [0, 1, 2]);
    }
}
