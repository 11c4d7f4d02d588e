//! Compute instances within a GPU instance: which sizes there are, and where they may start.

use std::ops::Range;

/// Where a compute instance of `slices` may start in a GPU instance of `room` compute slices; empty
/// where NVIDIA offers none of that size.
///
/// Sizes are those of `nvidia-smi mig -lcip` (MIG user guide). Starts are those of NVIDIA's tables of
/// H100, B200 and A30 (go-nvml, `pkg/nvml/mock/shared/gpus`): two slices at every second one, three
/// and four at every fourth.
pub fn starts(room: u32, slices: u32) -> Vec<u32> {
    let step = match slices {
        0 => return Vec::new(),
        more if more > room => return Vec::new(),
        all if all == room => return vec![0],
        1 => 1,
        2 if room >= 3 => 2,
        3 | 4 if room >= 7 => 4,
        _ => return Vec::new(),
    };
    (0..=room - slices).step_by(step).collect()
}

/// `2c 1c`: compute instances of these sizes, for people.
pub fn names(sizes: &[u32]) -> String {
    sizes.iter().map(|slices| format!("{slices}c")).collect::<Vec<_>>().join(" ")
}

/// `2c destroyed, 1c 1c created`: what becomes of compute instances of these sizes, for people; empty
/// where there are none.
pub fn changed(destroyed: &[u32], created: &[u32]) -> String {
    let parts = [(destroyed, "destroyed"), (created, "created")];
    let parts = parts.iter().filter(|(sizes, _)| !sizes.is_empty());
    parts.map(|(sizes, what)| format!("{} {what}", names(sizes))).collect::<Vec<_>>().join(", ")
}

/// Places for compute instances of the sizes `new` beside those that stay, ordered by start. `None`
/// where there are none.
///
/// Created in this order, they also fit where the driver chooses the first free place itself: each
/// finds one that is no later than its own here.
pub fn arrange(room: u32, stay: &[Range<u32>], new: &[u32]) -> Option<Vec<Range<u32>>> {
    if new.iter().map(|&slices| u64::from(slices)).sum::<u64>() > u64::from(room) {
        return None;
    }
    let mut sizes = new.to_vec();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken = stay.to_vec();
    if !place(room, &sizes, &mut taken) {
        return None;
    }
    let mut places = taken.split_off(stay.len());
    places.sort_by_key(|place| place.start);
    Some(places)
}

/// Adds a place for each size to `taken`; false where that cannot be, and `taken` is as before.
fn place(room: u32, sizes: &[u32], taken: &mut Vec<Range<u32>>) -> bool {
    let Some((&slices, rest)) = sizes.split_first() else { return true };
    for start in starts(room, slices) {
        let end = start + slices;
        if taken.iter().any(|other| start < other.end && other.start < end) {
            continue;
        }
        taken.push(start..end);
        if place(room, rest, taken) {
            return true;
        }
        taken.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to write at most `left` as sizes of compute instances, largest first.
    fn multisets(room: u32, left: u32, most: u32) -> Vec<Vec<u32>> {
        let mut all = vec![Vec::new()];
        for size in (1..=most.min(left)).filter(|&size| !starts(room, size).is_empty()) {
            for rest in multisets(room, left - size, size) {
                all.push([vec![size], rest].concat());
            }
        }
        all
    }

    #[test]
    fn starts_are_those_of_the_tables() {
        assert_eq!(starts(7, 1), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(starts(7, 2), [0, 2, 4]);
        assert_eq!(starts(7, 3), [0, 4]);
        assert_eq!((starts(7, 4), starts(7, 7)), (vec![0], vec![0]));
        assert_eq!((starts(4, 2), starts(3, 2)), (vec![0, 2], vec![0]));
        assert_eq!((starts(2, 1), starts(2, 2)), (vec![0, 1], vec![0]));
        for (room, slices) in [(4, 3), (3, 4), (7, 5), (7, 8), (2, 3), (1, 0), (0, 1)] {
            assert_eq!(starts(room, slices), [0; 0], "{slices} of {room}");
        }
    }

    #[test]
    fn an_empty_instance_holds_whatever_its_slices_suffice_for() {
        let counts = [1, 2, 3, 4, 7].map(|room| {
            let all = multisets(room, room, room);
            for new in &all {
                // NVIDIA's limit for each size, which is what the starts allow.
                let possible = new.iter().all(|size| {
                    let count = new.iter().filter(|other| *other == size).count();
                    count <= starts(room, *size).len()
                });
                let places = arrange(room, &[], new);
                assert_eq!(places.is_some(), possible, "{new:?} in {room}");
                // The first free place for each in turn is enough, where a driver chooses itself.
                let mut taken: Vec<Range<u32>> = Vec::new();
                for wanted in places.into_iter().flatten() {
                    let slices = wanted.end - wanted.start;
                    let free = |start: &u32| {
                        taken.iter().all(|t| *start >= t.end || t.start >= *start + slices)
                    };
                    let start = starts(room, slices).into_iter().find(free).unwrap();
                    taken.push(start..start + slices);
                }
            }
            all.len()
        });
        assert_eq!(counts, [2, 4, 7, 10, 39]);
    }

    #[test]
    fn what_stays_may_be_in_the_way() {
        assert_eq!(arrange(7, &[], &[2, 3, 2]), Some(vec![0..2, 2..4, 4..7]));
        assert_eq!(arrange(7, std::slice::from_ref(&(2..3)), &[3, 2]), Some(vec![0..2, 4..7]));
        assert_eq!(arrange(7, &[1..2, 5..6], &[3]), None);
        assert_eq!(arrange(7, &[], &[7, 1]), None);
        // A driver may say anything of what is there.
        assert_eq!(arrange(3, std::slice::from_ref(&(0..u32::MAX)), &[1]), None);
    }
}
