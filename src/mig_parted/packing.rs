//! How compute instances that a file names may share GPU instances.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::hardware::compute;

/// Every way to share compute instances of these sizes between at most `most` GPU instances of `room`
/// compute slices: for each way the sizes in each GPU instance, largest first. Ordered by the number
/// of GPU instances; then ways that fill the first ones come first, as mig-parted does.
pub(super) fn packings(room: u32, sizes: &[u32], most: u32) -> Vec<Vec<Vec<u32>>> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut all: Vec<Vec<Vec<u32>>> = ways(room, &sizes, most).into_iter().collect();
    all.sort_by_key(|way| (way.len(), Reverse(way.clone())));
    all
}

/// The ways, each with its GPU instances from the largest contents to the smallest.
fn ways(room: u32, sizes: &[u32], most: u32) -> BTreeSet<Vec<Vec<u32>>> {
    let Some((&largest, rest)) = sizes.split_first() else { return BTreeSet::from([Vec::new()]) };
    let sum: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    if sum > u64::from(most) * u64::from(room) {
        return BTreeSet::new();
    }
    let mut found = BTreeSet::new();
    for (content, left) in contents(room, vec![largest], rest) {
        for mut way in ways(room, &left, most - 1) {
            way.push(content.clone());
            way.sort_by(|a, b| b.cmp(a));
            found.insert(way);
        }
    }
    found
}

/// What one GPU instance may hold, `chosen` and some of `rest`; and what of `rest` that leaves.
fn contents(room: u32, chosen: Vec<u32>, rest: &[u32]) -> Vec<(Vec<u32>, Vec<u32>)> {
    if chosen.iter().sum::<u32>() > room {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (at, &size) in rest.iter().enumerate() {
        // Of equal ones the first is as good as any.
        if at > 0 && rest[at - 1] == size {
            continue;
        }
        for (content, left) in contents(room, [&chosen[..], &[size]].concat(), &rest[at + 1..]) {
            all.push((content, [&rest[..at], &left].concat()));
        }
    }
    if compute::arrange(room, &[], &chosen).is_some() {
        all.push((chosen, rest.to_vec()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::packings;

    #[test]
    fn every_way_is_found_and_the_fullest_first() {
        assert_eq!(
            packings(3, &[1, 1, 1, 1], 2),
            [[vec![1, 1, 1], vec![1]], [vec![1, 1], vec![1, 1]]]
        );
        assert_eq!(packings(3, &[2, 1, 2, 1], 2), [[[2, 1], [2, 1]]]);
        assert_eq!(packings(2, &[1, 1], 3), [vec![vec![1, 1]], vec![vec![1], vec![1]]]);
        assert_eq!(packings(7, &[3, 3, 2, 2, 2, 2], 2), [[[3, 2, 2], [3, 2, 2]]]);
        assert_eq!(packings(3, &[3, 1, 1], 2), [[vec![3], vec![1, 1]]]);
        // Two compute instances of two slices do not fit the three slices of one GPU instance.
        assert_eq!(packings(3, &[2, 2], 2), [[[2], [2]]]);
        assert_eq!(packings(3, &[2, 2], 1).len(), 0);
        assert_eq!(packings(7, &[4, 4], 1).len(), 0);
        assert_eq!(packings(1, &[], 1), [Vec::<Vec<u32>>::new()]);
    }
}
